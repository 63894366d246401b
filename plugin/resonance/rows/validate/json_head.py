# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""JSON lines whose start does not show what a column holds later. Standard library only.

`datasets` fixes the columns of JSON lines by their first 10 MB. A column that is empty or whole numbers there, and
something else behind, stops it with a message that names no row. A JSON list is read whole and has no such limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..types import Row
from .findings import Finding

HEAD = 10 << 20  # bytes; a row that starts within belongs to it
WHOLE, BROKEN = "whole numbers", "numbers"


class JsonHead:
    """What the first rows show of each column, and the first later row that each does not suit."""

    def __init__(self) -> None:
        self.shape: dict[str, Any] = {}
        self.late: dict[str, tuple[int, str]] = {}

    def add(self, number: int, row: Row, start: int) -> None:
        """Note a row of the start, or compare a later one with it.

        Args:
            number: of the row.
            row: the row.
            start: bytes of the file before it.
        """
        if start <= HEAD:
            self.shape = _merged(self.shape, _shape(row))
            return
        for column, value in row.items():
            if column not in self.late and not (column in self.shape and _suits(self.shape[column], value)):
                self.late[column] = number, self._message(column, value)

    def findings(self, source: str) -> Iterator[Finding]:
        """Yield a finding for the first row of each column that is unlike the start of the file."""
        for row, message in self.late.values():
            yield Finding("late column", message, source, row)

    def _message(self, column: str, value: Any) -> str:
        shown = {None: "empty", WHOLE: f"only {WHOLE}"}.get(_hashable(self.shape.get(column)), "otherwise")
        return (
            f"`{column}` is {value!r:.60}, and {shown} in the first {HEAD >> 20} MB of the file, by which `datasets` "
            "fixes the columns of JSON lines"
        )


def _hashable(shape: Any) -> Any:
    """A shape to look up; a list of nothing is as empty as nothing."""
    return None if shape in (None, [None]) else shape if isinstance(shape, str) else "more"


def _shape(value: Any) -> Any:
    """What a value shows: None for nothing, a name, a list with one shape, or shapes by key."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        shape = None
        for inner in value:
            shape = _merged(shape, _shape(inner))
        return [shape]
    if value is None:
        return None
    return {bool: "truth", int: WHOLE, float: BROKEN}.get(type(value), "text")


def _merged(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _merged(one.get(key), other.get(key)) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0])]
    return BROKEN if {str(one), str(other)} == {WHOLE, BROKEN} else one


def _suits(shape: Any, value: Any) -> bool:
    """Whether a value can be what the start shows; one of another type is reported as such, not here."""
    if value is None:
        return True
    if shape is None:
        return False
    if isinstance(value, list) and isinstance(shape, list):
        return all(_suits(shape[0], inner) for inner in value)
    if isinstance(value, dict) and isinstance(shape, dict):
        return all(key in shape and _suits(shape[key], inner) for key, inner in value.items())
    return not (isinstance(value, float) and shape == WHOLE) or value.is_integer()
