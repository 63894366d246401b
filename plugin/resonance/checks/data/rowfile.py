# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows of a file as `datasets` will read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...datafiles.columns import NUMBERS
from ...datafiles.read import RowError, RowReader
from ...rows.fields import number_in
from ...rows.validate.json_head import JsonHead
from ...rows.validate.json_lines import BLANK, BLOCK
from .entry import Entry

LABELS = {"true": True, "false": False}
MARK = BLANK[:3]
CSV_ROWS = 10_000  # by which `datasets` guesses


def rows_of(
    entry: Entry, path: Path, on_error: Callable[[int, str], None], head: JsonHead | None = None
) -> tuple[RowReader, Iterator[Any]]:
    """Return the reader of a file and its rows as (number, row).

    The cells of a CSV file of pairs are text, its scores, weights and margins numbers, as in runs of ours. Other sets
    are read by LlamaFactory alone, so their cells become what `datasets` guesses.

    Args:
        entry: of the file's data set.
        path: of the file.
        on_error: called with (row number, what is wrong) for a line that cannot be read.
        head: is shown the rows of JSON lines.

    Raises:
        RowError: here or while iterating, if the file cannot be read (on).
    """
    good, is_json = 0, path.suffix.lower() in (".json", ".jsonl")
    numbers = {entry.columns.get(key) for key in NUMBERS}

    def complain(row: int, message: str) -> None:
        if path.suffix.lower() == ".json" and not good and row >= 2:
            raise RowError(f"{path}: is neither a list of rows nor one row a line.")
        on_error(row, message)

    reader = RowReader(path, complain)
    if path.suffix.lower() == ".csv" and not entry.ranking:
        return reader, enumerate(_guessed_csv(path))

    def rows() -> Iterator[Any]:
        nonlocal good
        for number, row in reader:
            good += 1
            if path.suffix.lower() == ".csv":
                row = numbered({column: None if text == "" else text for column, text in row.items()}, entry)
            elif is_json and not reader.lines and isinstance(row, dict):  # where NaN reads as null
                row |= {name: None for name, value in row.items() if value != value and name not in numbers}
            if head is not None and reader.lines and isinstance(row, dict):
                head.add(number, row, reader.start)
            yield number, row

    return reader, rows()


def unread(path: Path) -> str:
    """The kind of problem of a line that the reader of a file leaves out."""
    return "row unreadable" if path.suffix.lower() == ".csv" else "not JSON"


def unloadable(reader: RowReader) -> str | None:
    """Why `datasets` cannot read a JSON file whose rows can be read here."""
    path = reader.path
    if path.suffix.lower() not in (".json", ".jsonl"):
        return None
    if reader.wrapped and (size := path.stat().st_size) > BLOCK:
        return f"rows span several lines, which `datasets` reads up to {BLOCK:,} bytes; the file has {size:,}"
    with open(path, "rb") as file:
        marked = file.read(len(MARK)) == MARK
    return "begins with a byte order mark; save it as UTF-8 without" if marked and not reader.lines else None


def _guessed_csv(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file with numbers, truth values and nothing where `datasets` sees them in a column's text."""
    import pandas  # what `datasets` reads it with
    import pyarrow

    try:
        for table in pandas.read_csv(path, iterator=True, chunksize=CSV_ROWS):
            yield from pyarrow.Table.from_pandas(table, preserve_index=False).to_pylist()
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        raise RowError(f"{path}: cannot be read ({type(error).__name__}: {error}).") from error


def numbered(row: dict[str, Any], entry: Entry) -> dict[str, Any]:
    """A row whose scores, weight and margin are numbers, where they were written as text."""
    columns = [column for key in NUMBERS if (column := entry.columns.get(key)) is not None]
    return row | {column: number_in(row.get(column)) for column in columns if column in row}


def typed(row: dict[str, Any], entry: Entry) -> dict[str, Any]:
    """A row whose scores and labels are numbers and truth values, where they were written as text."""
    label = entry.columns.get("kto_tag", "")
    if isinstance(text := row.get(label), str):
        row = row | {label: LABELS.get(text.lower(), text)}
    return numbered(row, entry)
