# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""References to pictures and videos in raw rows. Room: `importers/`. Standard library only."""

from __future__ import annotations

from typing import Any


def references(row: dict[str, Any], *names: str) -> list[Any]:
    """What the first of these columns holds that is not empty, as a list; none if all are absent or empty."""
    for name in names:
        if given := row.get(name):
            return given if isinstance(given, list) else [given]
    return []


def below(reference: Any, folder: str) -> Any:
    """The part of a path below the last folder of that name, or all of it, with slashes as everywhere but on Windows.

    ``/data/MM-RLHF/short/1.jpg`` below ``MM-RLHF`` is ``short/1.jpg``. What is no path comes back as it is.
    """
    if not isinstance(reference, str):
        return reference
    path = reference.replace("\\", "/")
    _, found, rest = f"/{path}".rpartition(f"/{folder}/")
    return rest if found else path
