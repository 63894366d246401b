# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How pictures of unknown origin are opened, as the rows of a run open them. Imports PIL."""

from __future__ import annotations

from ..rows.vision.opening import is_see_through as is_see_through
from ..rows.vision.opening import open_image as open_image

__all__ = ["is_see_through", "open_image"]
