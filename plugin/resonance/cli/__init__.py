# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The `resonance` command. Commands print and return an exit code; they know little themselves."""
