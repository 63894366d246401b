# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows of a file as `datasets` will read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...datafiles.columns import SCORE_FIELDS
from ...datafiles.read import RowError, RowReader
from ...rows.validate.json_head import JsonHead
from .entry import Entry

LABELS = {"true": True, "false": False}


def rows_of(
    entry: Entry, path: Path, on_error: Callable[[int, str], None], head: JsonHead | None = None
) -> tuple[RowReader, Iterator[Any]]:
    """Return the reader of a file and its rows as (number, row); cells of a CSV become what `datasets` makes of them.

    Args:
        entry: of the file's data set.
        path: of the file.
        on_error: called with (row number, what is wrong) for a line that cannot be read.
        head: is shown the rows of JSON lines.

    Raises:
        RowError: here or while iterating, if the file cannot be read (on).
    """
    good = 0

    def complain(row: int, message: str) -> None:
        if path.suffix.lower() == ".json" and not good and row >= 2:
            raise RowError(f"{path}: is neither a list of rows nor one row a line.")
        on_error(row, message)

    reader = RowReader(path, complain)

    def rows() -> Iterator[Any]:
        nonlocal good
        for number, row in reader:
            good += 1
            if path.suffix.lower() == ".csv":
                row = typed({column: None if text == "" else text for column, text in row.items()}, entry)
            if head is not None and reader.lines and isinstance(row, dict):
                head.add(number, row, reader.start)
            yield number, row

    return reader, rows()


def unread(path: Path) -> str:
    """The kind of problem of a line that the reader of a file leaves out."""
    return "row unreadable" if path.suffix.lower() == ".csv" else "not JSON"


def typed(row: dict[str, Any], entry: Entry) -> dict[str, Any]:
    """A row whose scores and labels are numbers and truth values, where they were written as text."""
    changed: dict[str, Any] = {}
    for key in (*SCORE_FIELDS, "kto_tag"):
        column = entry.columns.get(key, "")
        if isinstance(text := row.get(column), str):
            changed[column] = LABELS.get(text.lower(), text) if key == "kto_tag" else number_in(text)
    return row | changed


def number_in(value: Any) -> Any:
    """The number that a text stands for, or the value as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
