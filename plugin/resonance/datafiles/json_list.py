# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: a JSON list decoded as its text comes in, with the place of whatever is wrong in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TextIO

CHUNK = 1 << 18  # characters of a JSON list read at a time
EDGE = 16  # longer than any JSON literal that a chunk can cut in two
LONGEST_ROW = 1 << 28  # characters; beyond, a string is held to be unterminated


DEEPEST = 100  # lists and objects in each other; what goes through a row later calls itself for each


class RowError(ValueError):
    """A file, or a row of it, that cannot be read: says which, where and why. ``row`` is where a JSON list broke."""

    row: int | None = None


TOO_DEEP = f"more than {DEEPEST} lists or objects lie in each other"


def too_deep(value: Any, brackets: int) -> bool:
    """Whether more than DEEPEST lists and objects lie in each other; `brackets`: how many the text has at most."""
    level = [value]
    depth = 0
    while brackets > DEEPEST and (level := [each for each in level if isinstance(each, list | dict)]):
        depth += 1
        if depth > DEEPEST:
            return True
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return False


class JsonList:
    """The elements of a JSON list, decoded as the text comes in."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.file, self.name = file, name
        self.text, self.at, self.read, self.ended = "", 0, 0, False
        self.line, self.column = 1, 1  # of the start of `text`

    def __iter__(self) -> Iterator[Any]:
        decode = json.JSONDecoder().raw_decode
        self._expect("[", row=0)
        row = 0
        if self._peek() == "]":
            self.at += 1
        else:
            while True:
                yield self._element(decode, row)
                row += 1
                if self._expect(",]", row - 1) == "]":
                    break
        if self._peek():
            raise self._error(row, "there is text behind the end of the list", self.at)

    def _element(self, decode: Callable[[str, int], tuple[Any, int]], row: int) -> Any:
        self._peek()
        while True:
            try:
                value, end = decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self.ended or not self._may_go_on(error):
                    at_end = error.msg.startswith("Unterminated") or not self.text[error.pos :].strip()
                    cut = "; is the file cut off?" if self.ended and at_end else ""
                    raise self._error(row, f"is not valid JSON ({error.msg}){cut}", error.pos) from None
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand lists in lists
                raise self._error(row, str(error), self.at) from None
            else:
                if end + EDGE < len(self.text) or self.ended:  # else it may be a number that goes on
                    if too_deep(value, self.text.count("[", self.at, end) + self.text.count("{", self.at, end)):
                        raise self._error(row, TOO_DEEP, self.at)
                    self.at = end
                    return value
            self._more()

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether more text could mend the error: it lies at the edge, or a string is open."""
        opened = error.msg.startswith(("Unterminated string", "Invalid \\"))
        at_edge = error.pos > len(self.text) - EDGE
        return (opened or at_edge) and len(self.text) - self.at < LONGEST_ROW

    def _more(self) -> None:
        """Drop what has been decoded and append at least as much as is left, so that a row is tried few times."""
        try:
            piece = self.file.read(max(CHUNK, len(self.text) - self.at))
        except UnicodeDecodeError as error:
            raise RowError(f"{self.name}: is not UTF-8 ({error}); save it as UTF-8.") from error
        self.ended = not piece
        self.read += len(piece)
        self.line, self.column = self._place(self.at)
        self.text, self.at = self.text[self.at :] + piece, 0

    def _peek(self) -> str:
        """Skip white space and return the next character, empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._more()

    def _expect(self, characters: str, row: int) -> str:
        found = self._peek()
        if not found or found not in characters:
            wanted = " or ".join(repr(character) for character in characters)
            raise self._error(
                row,
                f"{found!r} where {wanted} is needed" if found else "the list breaks off; is the file cut off?",
                self.at,
            )
        self.at += 1
        return found

    def _error(self, row: int, message: str, position: int) -> RowError:
        place = "line {}, column {}".format(*self._place(position))
        error = RowError(f"{self.name}, row {row} ({place}): {message}.")
        error.row = row
        return error

    def _place(self, position: int) -> tuple[int, int]:
        """Line and column, from 1, of a position in `text`."""
        newline = self.text.rfind("\n", 0, position)
        column = self.column + position if newline < 0 else position - newline
        return self.line + self.text.count("\n", 0, position), column
