# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: an entry in spite of rows that are unlike the others, and which these are. Reads, never writes."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from .infer import infer_entry
from .read import RowError, read_rows
from .sample import SAMPLE, Unclear, first_file

ROLE_KEYS = ("from", "role")  # who speaks belongs to the shape of a message


def infer_usual(file: Path, info_path: Path, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Infer an entry from the first rows; if some are odd, from those of the commonest shape and what goes with them.

    Raises:
        ValueError: as `infer_entry` does for all rows, or for those of the commonest shape.
    """
    try:
        return infer_entry(file, info_path, given)
    except ValueError:
        groups = _groups(file)
        if not groups:
            raise
        rows = [row for _, row in groups[0]]
        entry = infer_entry(file, info_path, given, rows=rows)
        for group in groups[1:]:
            more = [*rows, *(row for _, row in group)]
            with suppress(ValueError):
                entry = infer_entry(file, info_path, given, rows=more)
                rows = more
        return entry


def odd_row(file: Path, info_path: Path, given: dict[str, Any] | None = None) -> ValueError | None:
    """The error that names the first row that keeps an entry from being told, None if most rows do."""
    groups = _groups(file)
    rows = [row for _, row in groups[0]]
    try:
        infer_entry(file, info_path, given, rows=rows)
    except ValueError:
        return None
    for number, row in sorted((each for group in groups[1:] for each in group), key=lambda each: each[0]):
        try:
            infer_entry(file, info_path, given, rows=[*rows, row])
        except Unclear as error:
            return ValueError(
                f"{first_file(file)}, row {number}: {error.problem}. Most rows are sound: correct this one."
            )
    return None


def _groups(file: Path) -> list[list[tuple[int, Any]]]:
    """The first rows by their shape, the commonest first; what is no object, and what cannot be read, is left out."""
    groups: dict[str, list[tuple[int, Any]]] = {}
    with suppress(RowError):  # a list that breaks off: what stands before the break is sound
        for number, row in islice(read_rows(first_file(file), lambda row, what: None), SAMPLE):
            if isinstance(row, dict):
                groups.setdefault(_shape(row), []).append((number, row))
    return sorted(groups.values(), key=len, reverse=True)


def _shape(value: Any, key: str = "") -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_shape(value[name], name)}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted({_shape(item) for item in value})) + "]"
    if isinstance(value, str) and key in ROLE_KEYS:
        return repr(value)
    return "number" if type(value) in (int, float) else type(value).__name__
