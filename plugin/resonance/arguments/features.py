# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipe key `image_feature_cache`: a size of memory, or off."""

from __future__ import annotations

import re
from typing import Any

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B\s*", re.IGNORECASE)
_POWER = {"K": 1, "M": 2, "G": 3, "T": 4}


def feature_cache_bytes(given: Any) -> int:
    """Bytes of memory that a recipe reserves for features of pictures; 0 for off.

    Raises:
        ValueError: for anything but `off` (which YAML reads as false) and a size such as `8GB` or `512MiB`.
    """
    if given is False or given == "off":
        return 0
    found = _SIZE.fullmatch(given) if isinstance(given, str) else None
    size = float(found[1]) * (1024 if found[3] else 1000) ** _POWER[found[2].upper()] if found else 0
    if size < 1:
        raise ValueError(
            f"image_feature_cache: {given!r} is not understood; allowed: off, or a size of memory with its unit, such "
            "as 8GB (10^9 bytes) or 512MiB (2^20 bytes)"
        )
    return int(size)
