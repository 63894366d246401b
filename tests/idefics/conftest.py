# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What all of these tests need."""

from __future__ import annotations

from idefics.models import words_for_numbers

__all__ = ["words_for_numbers"]
