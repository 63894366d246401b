# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`python -m resonance`: the command where its script is not on PATH."""

from .cli.main import entry

entry()
