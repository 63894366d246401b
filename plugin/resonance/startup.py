# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Startup by its old name: editable installs keep the start-up line that they were made with, and it asks for this."""

from _resonance_startup import install

__all__ = ["install"]
