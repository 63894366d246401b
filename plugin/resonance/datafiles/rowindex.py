# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows of a data set to look at: a few dozen bytes of each in memory, the row itself read when it is asked for."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .flags import Flag, row_hash
from .parts import Layout, Parts
from .positions import Positions

SORTS = ("row", "margin", "length", "difference")
SOURCES = (
    "source",
    "data_source",
    "origin",
    "dataset",
    "ds_name",
    "subset",
    "category",
    "tag",
    "tags",
    "type",
    "task",
)
MOST_SOURCES = 200  # different values of a column that a menu can hold
OTHER = "(others)"


@dataclass(frozen=True)
class Query:
    """Which rows, in which order. What is None, or empty, does not matter.

    Attributes:
        text: to be found in a prompt, an answer or another column, in small or capital letters.
        low, high: limits of the margin; rows without one are left out if there is one.
        source: a value of the column that `RowIndex.source` names.
        flag: "any", "none" or a reason.
        problem: rows with a problem, or (False) without.
        sort: one of SORTS; rows without a margin come last.
        down: the largest first.
    """

    text: str = ""
    low: float | None = None
    high: float | None = None
    source: str | None = None
    flag: str | None = None
    problem: bool | None = None
    sort: str = "row"
    down: bool = False


class RowIndex:
    """The rows of the files of a data set, counted from 0 over all files.

    Args:
        files: of the set.
        layout: takes a row apart.
        limit: how many rows are opened; None for all.
        source: the column to filter by; None for the first of SOURCES that the rows have.

    Attributes:
        unread: how many rows could not be read, and are not there.
        first_unread: where the first of them is, and why.
        sources: the values of that column.
    """

    def __init__(self, files: list[Path], layout: Layout, limit: int | None = None, source: str | None = None) -> None:
        self.layout, self.limit, self.source = layout, limit, source
        self.files = [Positions(file, self._complain(file)) for file in files]
        self.starts: list[int] = []
        self.unread, self.first_unread = 0, ""
        self.hashes, self.margins = array("Q"), array("d")
        self.lengths, self.differences, self._sources = array("L"), array("l"), array("H")
        self.sources: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.hashes)

    def open(self) -> RowIndex:
        """Read all rows once.

        Raises:
            RowError: if a file cannot be read.
        """
        for file in self.files:
            self.starts.append(len(self))
            left = None if self.limit is None else self.limit - len(self)
            for _, row in islice(file, left):
                self._add(row)
        return self

    def __getitem__(self, index: int) -> Any:
        file, place = self._where(index)
        return file.read(place)

    def where(self, index: int) -> tuple[Path, int]:
        """The file of a row, and its number there."""
        file, place = self._where(index)
        return file.path, file.numbers[place]

    def parts(self, index: int) -> Parts:
        return self.layout(self[index])

    def hash(self, index: int) -> str:
        return f"{self.hashes[index]:016x}"

    def same(self, index: int) -> list[int]:
        """All rows that are like one, itself among them."""
        wanted = self.hashes[index]
        return [place for place, value in enumerate(self.hashes) if value == wanted]

    def select(self, query: Query, flags: Mapping[str, Flag], problems: Mapping[int, Any]) -> list[int]:
        """The rows that a query wants, in its order.

        Args:
            query: what is wanted.
            flags: by hash.
            problems: of rows that have some.
        """
        wanted = [index for index in range(len(self)) if self._fits(index, query, flags, problems)]
        if query.text:
            needle = query.text.casefold()
            wanted = [i for i in wanted if any(needle in text.casefold() for text in self.parts(i).texts())]
        if query.sort != "row":
            columns: dict[str, Any] = {
                "margin": self.margins,
                "length": self.lengths,
                "difference": self.differences,
            }
            values = columns[query.sort]
            sign = -1 if query.down else 1
            wanted.sort(key=lambda index: (math.isnan(values[index]), sign * values[index]))
        elif query.down:
            wanted.reverse()
        return wanted

    def _fits(self, index: int, query: Query, flags: Mapping[str, Flag], problems: Mapping[int, Any]) -> bool:
        margin = self.margins[index]
        if query.low is not None and not margin >= query.low or query.high is not None and not margin <= query.high:
            return False
        if query.source is not None and self._sources[index] != self.sources.get(query.source):
            return False
        if query.problem is not None and query.problem != (index in problems):
            return False
        if query.flag is None:
            return True
        flag = flags.get(self.hash(index)) if flags else None
        return flag is None if query.flag == "none" else flag is not None and query.flag in ("any", flag.flag)

    def _where(self, index: int) -> tuple[Positions, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no row {index}: {len(self)} are open")
        at = bisect_right(self.starts, index) - 1
        return self.files[at], index - self.starts[at]

    def _complain(self, file: Path) -> Callable[[int, str], None]:
        def complain(number: int, message: str) -> None:
            self.unread += 1
            self.first_unread = self.first_unread or f"{file}, row {number}: {message}"

        return complain

    def _add(self, row: Any) -> None:
        parts = self.layout(row)
        self.hashes.append(int(row_hash(row), 16))
        self.margins.append(parts.margin)
        lengths = [len(answer.text) for answer in parts.answers]
        self.lengths.append(max(lengths, default=0) or sum(len(text) for _, text in parts.turns))
        self.differences.append(lengths[0] - lengths[1] if len(lengths) == 2 else 0)
        self._sources.append(self._source_of(row))

    def _source_of(self, row: Any) -> int:
        if not isinstance(row, dict):
            return self._code(OTHER)
        if self.source is None:
            self.source = next((name for name in SOURCES if name in row and name not in self.layout.read), None)
        value = row.get(self.source) if self.source is not None else None
        return self._code(OTHER if value is None or isinstance(value, (dict, bytes)) else str(value))

    def _code(self, value: str) -> int:
        if value not in self.sources and len(self.sources) >= MOST_SOURCES:
            value = OTHER
        return self.sources.setdefault(value, len(self.sources))


def found_rows(index: RowIndex) -> Iterator[tuple[str, int, int]]:
    """Yield (file, number in it, row of the index) of every row."""
    for start, file in zip(index.starts, index.files, strict=True):
        yield from ((str(file.path), number, start + place) for place, number in enumerate(file.numbers))
