# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Everything that is asked of one row of one data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datafiles.columns import FORMATTINGS, SCORE_FIELDS
from ...datafiles.read import RowError, RowReader
from ...rows.json_types import type_name
from .align import Aligner, Unreadable
from .duplicates import Duplicates, Leakage
from .entry import Entry
from .images import MAX_PIXELS, ImageProbe
from .kinds import KINDS
from .rowchecks import Found, RowChecks

if TYPE_CHECKING:
    from .lengths import TokenCounter

LABELS = {"true": True, "false": False}


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        decode: decode every image in full.
        score_range: the lowest and the highest score allowed.
        max_pixels: from how many pixels an image is called oversized.
        lengths: counts the tokens of rows; None not to.
        against: another set that must share no rows with this one.
    """

    decode: bool = False
    score_range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS
    lengths: TokenCounter | None = None
    against: Leakage | None = None


@dataclass
class Judge:
    """Judge the rows of one data set: each for itself, then beside the others."""

    entry: Entry
    options: Options
    align: Aligner = field(init=False)
    probe: ImageProbe = field(init=False)

    def __post_init__(self) -> None:
        self.align = Aligner(self.entry)
        self.probe = ImageProbe(self.entry.media_dir, self.options.decode, self.options.max_pixels)
        self.checks = RowChecks(self.entry, self.probe, self.options.score_range)

    def aligned(self, row: Any) -> tuple[dict[str, Any] | None, list[Found]]:
        """Return the aligned row, or None and why there is none."""
        if not isinstance(row, dict):
            return None, [("row unreadable", f"a row is {type_name(row)}, but a mapping is needed")]
        if not self.entry.columns or self.entry.formatting not in FORMATTINGS:  # the entry's complaint says so
            return None, []
        try:
            return self.align(row), []
        except Unreadable as problem:
            return None, [("row unreadable", str(problem))]

    def alone(self, row: dict[str, Any], aligned: dict[str, Any]) -> list[Found]:
        """What is wrong with a row whatever the others are; tokens are counted for rows without errors."""
        found = list(self.checks(row, aligned))
        if self.options.lengths is not None and not has_error(found):
            found += self.options.lengths(aligned)
        return found

    def beside(self, seen: Duplicates, file: str, number: int, aligned: dict[str, Any]) -> list[Found]:
        """What is wrong with a row because of others: those in `seen`, and those of the other set."""
        found = list(seen(file, number, aligned))
        if self.options.against is not None:
            found += self.options.against(aligned)
        return found


def has_error(found: list[Found]) -> bool:
    """Whether any finding is an error."""
    return any(KINDS[kind].severity == "error" for kind, _ in found)


def rows_of(entry: Entry, path: Path, on_error: Callable[[int, str], None]) -> tuple[RowReader, Iterator[Any]]:
    """Return the reader of a file and its rows as (number, row); cells of a CSV become what `datasets` makes of them.

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


def source_name(path: Path) -> str:
    """A file's name in reports."""
    return os.fspath(path)
