# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The types of a file's values, by column and by place within one. Standard library only.

A file becomes one table, in which a column has one type: a stray value stops reading it wherever it stands, also in a
column that nobody uses.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ..types import Row
from .findings import Finding

NAMES = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
REMEMBERED = 100  # values of each type and place that can be shown
WHOLE = 1 << 63
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d)?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
Seen = tuple[array, list[str]]  # the rows of values of a type, and the first values in words


class ColumnTypes:
    """Note types row by row: four bytes a value, and the first few values in words."""

    def __init__(self) -> None:
        self.columns: dict[str, None] = {}  # in the order in which they appear
        self.count = 0
        self._types: dict[str, dict[str, Seen]] = {}  # by place: a column, or one within it
        self._seen: dict[tuple[str, type], Seen] = {}  # the same to be looked up sooner
        self._large: list[tuple[int, str, int]] = []
        self._dates: dict[str, bool] = {}  # of places with text: whether all of it reads as dates

    def add(self, number: int, row: Row) -> None:
        """Note the types of a row's values; null is of no type."""
        self.count += 1
        if row.keys() - self.columns.keys():
            self.columns |= dict.fromkeys(row)
        for place, value in places(row):
            kind = type(value)
            seen = self._seen.get((place, kind))
            if seen is None:
                seen = self._types.setdefault(place, {}).setdefault(type_name(value), (array("I"), []))
                self._seen[place, kind] = seen
            if kind is str:
                if self._dates.get(place, True):
                    self._dates[place] = is_date(value)
            elif kind is int and not -WHOLE <= value < WHOLE and len(self._large) < REMEMBERED:
                self._large.append((number, place, value))
            rows, shown = seen
            if rows and rows[-1] == number:
                continue
            rows.append(number)
            if len(shown) < REMEMBERED:
                shown.append(f" {value!r:.60}" if kind not in (list, dict) else "")

    def usual(self, place: str) -> str | None:
        """Return the type that most rows have in a column, or in a place within one."""
        types = self._types.get(place) or {}
        return max(types, key=lambda name: len(types[name][0])) if types else None

    def mixed(self, source: str, reported: set[int] | frozenset[int] = frozenset()) -> Iterator[Finding]:
        """Yield a finding for every value whose type is not the usual one of its place.

        Args:
            source: the file.
            reported: rows with other errors, of which only whole columns are reported.
        """
        for place, types in self._types.items():
            usual = self.usual(place) or ""
            usually, _ = types[usual]
            for name, (rows, shown) in types.items():
                for i, row in enumerate(rows if name != usual else ()):
                    if row in reported and place not in self.columns:
                        continue
                    count = len(usually) - _holds(usually, row)
                    others = "1 other row has" if count == 1 else f"{count} other rows have"
                    value = shown[i] if i < len(shown) else ""
                    message = f"`{place}` is {name}{value}, where {others} {usual}"
                    yield Finding("mixed column", message, source, row)

    def large(self, source: str) -> Iterator[Finding]:
        """Yield a finding for whole numbers at which reading a JSON list stops; JSON lines have no such limit."""
        for row, place, value in self._large:
            message = f"`{place}` is {_digits(value)}, beyond the whole numbers of 64 bits that a JSON list may hold"
            yield Finding("large number", message, source, row)

    def dates(self, source: str, wanted: Iterable[str]) -> Iterator[Finding]:
        """Yield a finding for each of these places whose texts all look like dates, which JSON lines make of them."""
        for place in wanted:
            if self._dates.get(place) and self.usual(place) == NAMES[str]:
                rows, shown = self._types[place][NAMES[str]]
                message = f"`{place}` holds dates alone ({shown[0].strip()} ...), and `datasets` makes no text of them"
                yield Finding("dates", message, source, rows[0])


def text_places(formatting: str, columns: Mapping[str, str | None], content: str | None) -> list[str]:
    """Where the texts of rows are, as places.

    Args:
        formatting: of the dataset_info.json entry.
        columns: what LlamaFactory calls a column -> its name in the file.
        content: the key of a message's text.
    """
    inner = {} if formatting == "alpaca" else {"chosen": f".{content}", "rejected": f".{content}"}
    inner |= {"messages": f"[].{content}"}
    keys = ("messages", "prompt", "query", "response", "system", "chosen", "rejected")
    return [f"{columns[key]}{inner.get(key, '')}" for key in keys if columns.get(key)]


def is_date(text: str) -> bool:
    """Whether the reader of JSON lines takes a text for a point in time."""
    if not _DATE.fullmatch(text):
        return False
    try:
        return datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def _digits(value: int) -> str:
    """A whole number, however long; Python writes none of more than 4,300 digits."""
    return str(value) if abs(value) < 1 << 128 else f"a whole number of {value.bit_length()} bits"


def places(row: Row) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) for all that is not null in a row: `column`, `column.key`, `column[]`, and so on."""
    for column, outer in row.items():
        if type(outer) not in (list, dict):
            if outer is not None:
                yield column, outer
            continue
        waiting: list[tuple[str, Any]] = [(column, outer)]
        while waiting:
            place, value = waiting.pop()
            if value is not None:
                yield place, value
            if type(value) is list:
                waiting += [(f"{place}[]", inner) for inner in reversed(value)]
            elif type(value) is dict:
                waiting += [(f"{place}.{key}", inner) for key, inner in reversed(value.items())]


def type_name(value: Any) -> str:
    """Return what a JSON value is, in words; whole and other numbers are one type."""
    return NAMES.get(type(value), type(value).__name__)


def _holds(rows: array[int], row: int) -> bool:
    """Whether a row is among rows in order."""
    place = bisect_left(rows, row)
    return place < len(rows) and rows[place] == row
