# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The types of a file's values, by column and by place within one. Standard library only.

A file becomes one table, in which a column has one type: a stray value stops reading it wherever it stands, also in a
column that nobody uses.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from ..types import Row
from .findings import Finding

NAMES = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
REMEMBERED = 100  # values of each type and place that can be shown


class ColumnTypes:
    """Note types row by row: four bytes a value, and the first few values in words."""

    def __init__(self) -> None:
        self.columns: dict[str, None] = {}  # in the order in which they appear
        self._rows: dict[str, dict[str, array[int]]] = {}  # by place and type, in order
        self._shown: dict[tuple[str, str], list[str]] = {}

    def add(self, number: int, row: Row) -> None:
        """Note the types of a row's values; null is of no type."""
        if row.keys() - self.columns.keys():
            self.columns |= dict.fromkeys(row)
        for place, value in places(row):
            types, name = self._rows.setdefault(place, {}), type_name(value)
            rows = types.get(name)
            if rows is None:
                rows = types[name] = array("I")
            elif rows[-1] == number:
                continue
            rows.append(number)
            if len(rows) <= REMEMBERED:
                shown = self._shown.setdefault((place, name), [])
                shown.append(f" {value!r:.60}" if not isinstance(value, (list, dict)) else "")

    def usual(self, place: str) -> str | None:
        """Return the type that most rows have in a column, or in a place within one."""
        types = self._rows.get(place) or {}
        return max(types, key=lambda name: len(types[name])) if types else None

    def mixed(self, source: str, reported: set[int] | frozenset[int] = frozenset()) -> Iterator[Finding]:
        """Yield a finding for every value whose type is not the usual one of its place.

        Args:
            source: the file.
            reported: rows with other errors, of which only whole columns are reported.
        """
        for place, types in self._rows.items():
            usual = self.usual(place) or ""
            for name, rows in types.items():
                shown = self._shown[place, name]
                for i, row in enumerate(rows if name != usual else ()):
                    if row in reported and place not in self.columns:
                        continue
                    count = len(types[usual]) - _holds(types[usual], row)
                    others = "1 other row has" if count == 1 else f"{count} other rows have"
                    value = shown[i] if i < len(shown) else ""
                    message = f"`{place}` is {name}{value}, where {others} {usual}"
                    yield Finding("mixed column", message, source, row)


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
