# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: the rows of a file, one at a time, in memory that does not grow with the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .tables import table_batches

SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".arrow")
CHUNK = 1 << 18  # characters of a JSON list read at a time
BLANK = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, white space
EDGE = 16  # longer than any JSON literal that a chunk can cut in two
LONGEST_ROW = 1 << 28  # characters; beyond, a string is held to be unterminated

OnError = Callable[[int, str], None]


class RowError(ValueError):
    """A file, or a row of it, that cannot be read: says which, where and why. ``row`` is where a JSON list broke."""

    row: int | None = None


def data_files(path: str | Path) -> list[Path]:
    """Return the data files that a path stands for: itself, or those of a folder and its subfolders, sorted.

    Hidden ones, as downloaders and unfinished imports leave them, are passed over.

    Raises:
        RowError: if nothing is there, or a file has none of SUFFIXES.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in SUFFIXES and entry.is_file())
        found = [entry for entry in found if not _is_hidden(entry.relative_to(path))]
        if not found:
            raise RowError(f"{path}: no data file in this folder (looked for {', '.join(SUFFIXES)}).")
        return found
    if not path.is_file():
        raise RowError(f"{path}: no such file or folder.")
    if path.suffix.lower() not in SUFFIXES:
        raise RowError(
            f"{path}: files of type {path.suffix or '(no suffix)'} are not read; use {', '.join(SUFFIXES)}."
        )
    return [path]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


@dataclass
class RowReader:
    """Iterate over the rows of one file as ``(row number from 0, value)``.

    Args:
        path: a file with one of SUFFIXES. ``.json`` holds a list of rows, or one row a line as ``.jsonl`` does.
        on_error: called with (row number, what is wrong) for a line that is no JSON; the row is then left out.
            None raises instead. A list that breaks off raises in any case: nothing after the break can be trusted.

    Attributes:
        done: the part of the file that has been read, from 0 to 1.

    Raises:
        RowError: while iterating; names file, row, line and column.
    """

    path: Path
    on_error: OnError | None = None
    done: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        (self.path,) = data_files(self.path)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield (row number, value); values are dicts in a sound file, but whatever the file holds is handed out."""
        self.done = 0.0
        suffix = self.path.suffix.lower()
        if suffix in (".parquet", ".arrow"):
            yield from enumerate(self._table_rows())
        elif suffix == ".csv":
            yield from self._csv_rows()
        elif suffix == ".jsonl" or _first_character(self.path) != "[":
            yield from self._json_lines()
        else:
            yield from enumerate(self._json_list())
        self.done = 1.0

    def _open(self) -> TextIO:
        return open(self.path, encoding="utf-8-sig", newline="" if self.path.suffix.lower() == ".csv" else None)

    def _json_lines(self) -> Iterator[tuple[int, Any]]:
        size = max(self.path.stat().st_size, 1)
        read, row = 0, -1
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                read += len(line)
                self.done = read / size
                row += bool(line.strip(BLANK))
                try:
                    if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                        yield row, json.loads(text)
                except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are the first
                    self._complain(row, f"line {number} is no JSON object ({error})")

    def _complain(self, row: int, message: str) -> None:
        if self.on_error is None:
            raise RowError(f"{self.path}, row {row}: {message}.")
        self.on_error(row, message)

    def _json_list(self) -> Iterator[Any]:
        size = max(self.path.stat().st_size, 1)
        with self._open() as file:
            stream = _JsonStream(file, str(self.path))
            for value in stream:
                self.done = min(stream.read / size, 1.0)
                yield value

    def _csv_rows(self) -> Iterator[tuple[int, Any]]:
        with self._open() as file:
            try:
                for number, row in enumerate(csv.DictReader(file, strict=True)):
                    if more := row.pop(None, None):
                        self._complain(number, f"has {len(row) + len(more)} cells, and the header has {len(row)}")
                    else:
                        yield number, row
            except (csv.Error, UnicodeDecodeError) as error:
                raise RowError(f"{self.path}: cannot be read ({error}).") from error

    def _table_rows(self) -> Iterator[Any]:
        import pyarrow as pa

        try:
            total, batches = table_batches(self.path)
            count = 0
            for batch in batches:
                count += batch.num_rows
                self.done = min(count / total, 1.0) if total else 0.0
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise RowError(f"{self.path}: cannot be read ({type(error).__name__}: {error}).") from error


def read_rows(path: str | Path, on_error: OnError | None = None) -> Iterator[tuple[int, Any]]:
    """Shorthand for the rows of one file; see RowReader."""
    yield from RowReader(Path(path), on_error)


def _first_character(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        while (character := file.read(1)).isspace():
            pass
        return character


class _JsonStream:
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
                    raise self._error(row, error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand lists in lists
                raise self._error(row, str(error), self.at) from None
            else:
                if end + EDGE < len(self.text) or self.ended:  # else it may be a number that goes on
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
            raise RowError(f"{self.name}: is not UTF-8 ({error}).") from error
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
            raise self._error(row, f"{found!r} where {wanted} is needed" if found else "the list breaks off", self.at)
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
