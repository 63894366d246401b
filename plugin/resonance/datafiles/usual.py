# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: an entry in spite of rows that are unlike the others, and which these are. Reads, never writes."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from .infer import infer_entry
from .read import read_rows
from .sample import SAMPLE, Unclear, first_file


def infer_usual(file: Path, info_path: Path, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Infer an entry from the first rows, or, if one of them is odd, from those of the commonest shape.

    Raises:
        ValueError: as `infer_entry` does for all rows.
    """
    try:
        return infer_entry(file, info_path, given)
    except ValueError:
        usual, odd = _sorted_rows(file)
        if not usual or not odd:
            raise
        return infer_entry(file, info_path, given, rows=[row for _, row in usual])


def odd_row(file: Path, info_path: Path, given: dict[str, Any] | None = None) -> ValueError | None:
    """The error that names the first row that keeps an entry from being told, None if most rows do."""
    usual, odd = _sorted_rows(file)
    rows = [row for _, row in usual]
    try:
        infer_entry(file, info_path, given, rows=rows)
    except ValueError:
        return None
    for number, row in odd:
        try:
            infer_entry(file, info_path, given, rows=[*rows, row])
        except Unclear as error:
            return ValueError(
                f"{first_file(file)}, row {number}: {error.problem}. Most rows are sound: correct this one."
            )
    return None


def _sorted_rows(file: Path) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    """The first rows that have the commonest shape, and the others; lines that are no JSON are left out."""
    lines = islice(read_rows(first_file(file), lambda row, what: None), SAMPLE)
    rows = [(number, row, _shape(row)) for number, row in lines if isinstance(row, dict)]
    ((commonest, _),) = Counter(shape for _, _, shape in rows).most_common(1) or [("", 0)]
    usual = [(number, row) for number, row, shape in rows if shape == commonest]
    return usual, [(number, row) for number, row, shape in rows if shape != commonest]


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_shape(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted({_shape(item) for item in value})) + "]"
    return "number" if type(value) in (int, float) else type(value).__name__
