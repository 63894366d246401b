# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""References to pictures and videos in raw rows. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
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


def nearby_root(missing: Sequence[tuple[str, Path]]) -> Path | None:
    """The folder one level up or down from where pictures were looked for that has all of them; None if there is none.

    Args:
        missing: (path as in the row, folder where it is not), of pictures of one import.
    """
    root = Path(os.path.abspath(missing[0][1]))
    down = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    for folder in (root.parent, *down):
        if all(os.path.isfile(os.path.join(folder, reference)) for reference, _ in missing):
            return folder
    return None
