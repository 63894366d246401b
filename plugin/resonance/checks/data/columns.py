# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Columns of a file over all its rows: has each one type, and is every declared one there?

A file becomes one table in training, so that a stray value stops it wherever it stands, also in a column nobody uses.
"""

from __future__ import annotations

import difflib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from ...datafiles.columns import MEDIA_COLUMNS, SCORE_FIELDS
from ...rows.fields import META
from ...rows.validate.column_types import places, type_name
from ...rows.validate.findings import EMPTY_RESPONSE, INVALID_TURNS
from .entry import Entry

REMEMBERED = 100  # values of each type and column that can be shown
PER_ROW = {  # kinds that every row has if a column is missing
    **dict.fromkeys(("prompt",), ("empty prompt", INVALID_TURNS)),
    **dict.fromkeys(("messages", "chosen", "rejected"), (INVALID_TURNS, "row unreadable")),
    **dict.fromkeys(("response",), (EMPTY_RESPONSE,)),
    **dict.fromkeys(MEDIA_COLUMNS, ("placeholder count",)),
    **dict.fromkeys(SCORE_FIELDS, ("bad score",)),
    "kto_tag": ("bad label",),
    META: ("answer missing",),
}


Seen = tuple[array, list[str]]  # the rows of values of a type, and the first values in words


class Columns:
    """Types of values by column: four bytes a value, and the first few values in words."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._types: dict[str, dict[str, Seen]] = {}  # by place: a column, or one within it
        self._seen: dict[tuple[str, type], Seen] = {}  # the same to be looked up sooner
        self.count = 0

    def add(self, number: int, row: dict[str, Any]) -> None:
        """Note the types of a row's values; null is of no type."""
        self.count += 1
        if row.keys() - self._names.keys():
            self._names |= dict.fromkeys(row)
        for place, value in places(row):
            seen = self._seen.get((place, type(value)))
            if seen is None:
                seen = self._types.setdefault(place, {}).setdefault(type_name(value), (array("I"), []))
                self._seen[place, type(value)] = seen
            rows, shown = seen
            if rows and rows[-1] == number:
                continue
            rows.append(number)
            if len(shown) < REMEMBERED:
                shown.append(f"{value!r:.60}" if not isinstance(value, (list, dict)) else "")

    def usual(self, column: str) -> str | None:
        """The type that most values of a column, or of a place within one, have."""
        types = self._types.get(column) or {}
        return max(types, key=lambda name: len(types[name][0])) if types else None

    def mixed(self, told: set[int]) -> Iterator[tuple[int, str]]:
        """Yield (row, message) for every value whose type is not the usual one.

        Args:
            told: rows with other errors; values within their columns are not told as well.
        """
        for column, types in self._types.items():
            usual = self.usual(column) or ""
            usually, _ = types[usual]
            for name, (rows, shown) in types.items():
                for i, row in enumerate(rows if name != usual else ()):
                    if row in told and column not in self._names:
                        continue
                    count = len(usually) - _holds(usually, row)
                    others = "1 other row has" if count == 1 else f"{count} other rows have"
                    value = f" {shown[i]}" if i < len(shown) and shown[i] else ""
                    yield row, f"`{column}` is {name}{value}, where {others} {usual}"

    def missing(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for every declared column that no row has."""
        present = list(self._names)
        for_rewards = entry.prompts.meta if entry.prompts else ()
        for key, column in (*entry.columns.items(), *((META, name) for name in for_rewards)):
            if column in self._names:
                continue
            near = difflib.get_close_matches(column, present, 1) or difflib.get_close_matches(key, present, 1)
            hint = f"; did you mean `{near[0]}`?" if near else f". Columns: {', '.join(map(str, present[:20]))}"
            yield key, f"`{key}` names column `{column}`, which no row has{hint}"


def _holds(rows: array[int], row: int) -> bool:
    """Whether a row is among rows in order."""
    place = bisect_left(rows, row)
    return place < len(rows) and rows[place] == row
