# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows of a file, one at a time, in memory that does not grow with the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from ..rows.validate.json_lines import BLANK, BLOCK, pieces
from .json_list import TOO_DEEP, JsonList, RowError, too_deep
from .tables import table_batches

SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".arrow")
TEXT = ".txt"  # a row a line, for pre-training; read by its own name only, because notes in folders end so too
UTF_16 = (b"\xff\xfe", b"\xfe\xff")

OnError = Callable[[int, str], None]


class Reading(Protocol):
    """A file that is being read, and which part of it is done, from 0 to 1."""

    path: Path
    done: float


Watch = Callable[[Reading, Iterator[tuple[int, Any]]], Iterator[tuple[int, Any]]]
# Hands on the rows of whatever file is read; set by a command that prints how far it is.
WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


def data_files(path: str | Path) -> list[Path]:
    """Return the data files that a path stands for: itself, or those of a folder and its subfolders, sorted.

    Hidden ones, as downloaders and unfinished imports leave them, are passed over.

    Raises:
        RowError: if nothing is there, or a file has none of SUFFIXES.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in SUFFIXES and entry.is_file())
        found = [entry for entry in found if not any(part[0] == "." for part in entry.relative_to(path).parts)]
        if found:
            return found
        states = sorted(path.glob(".*.import/state.json"))
        names = [state.parent.name[1:].removesuffix(".import") for state in states]
        unfinished = [f"; there is an unfinished import of {name}: give its command again" for name in names]
        looked = f"no data file in this folder (looked for {', '.join(SUFFIXES)})"
        raise RowError(f"{path}: {looked}{''.join(unfinished)}.")
    if not path.is_file():
        raise RowError(f"{path}: no such file or folder.")
    if path.suffix.lower() not in (*SUFFIXES, TEXT):
        kind = path.suffix or "(no suffix)"
        raise RowError(f"{path}: files of type {kind} are not read; use {', '.join(SUFFIXES)}.")
    return [path]


@dataclass
class RowReader:
    """Iterate over the rows of one file as ``(row number from 0, value)``.

    Args:
        path: a file with one of SUFFIXES. ``.json`` and ``.jsonl`` hold a list of rows, or one row after the other,
            mostly one a line.
        on_error: called with (row number, what is wrong) for a line that is no JSON; the row is then left out.
            None raises instead. A list that breaks off raises in any case: nothing after the break can be trusted.

    Attributes:
        done: the part of the file that has been read, from 0 to 1.
        lines: whether it is read as JSON, one row after the other; known once the first row is out.
        start, length: bytes before the row that was read last, and of it, if so.
        wrapped: whether a row of them spans several lines.

    Raises:
        RowError: while iterating; names file, row, line and column.
    """

    path: Path
    on_error: OnError | None = None
    done: float = field(default=0.0, init=False)
    lines: bool = field(default=False, init=False)
    start: int = field(default=0, init=False)
    length: int = field(default=0, init=False)
    wrapped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        (self.path,) = data_files(self.path)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield (row number, value); values are dicts in a sound file, but whatever the file holds is handed out."""
        broken = None
        try:
            before = self._stamp()
            try:
                watch = WATCH.get()
                yield from self._rows() if watch is None else watch(self, self._rows())
            except RowError as error:
                broken = error
            if self._stamp() != before:  # then the rows are of no file that there ever was
                broken = RowError(f"{self.path}: was changed while it was read; run again when nothing writes it.")
            if broken is not None:
                raise broken
        except OSError as error:
            raise RowError(f"{self.path}: cannot be read ({error.strerror or error}).") from error

    def _stamp(self) -> tuple[int, int, int]:
        status = self.path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _rows(self) -> Iterator[tuple[int, Any]]:
        self.done = 0.0
        suffix = self.path.suffix.lower()
        if suffix in (".parquet", ".arrow"):
            yield from enumerate(self._table_rows())
            self.done = 1.0
            return
        with open(self.path, "rb") as file:
            if file.read(2) in UTF_16:
                raise RowError(f"{self.path}: is UTF-16; save it as UTF-8.")
        if suffix == ".csv":
            yield from self._csv_rows()
        elif suffix == TEXT:
            yield from self._text_rows()
        elif not is_list(self.path):
            self.lines = True
            yield from self._json_lines()
        else:
            yield from enumerate(self._json_list())
        self.done = 1.0

    def _open(self) -> TextIO:
        return open(self.path, encoding="utf-8-sig", newline="" if self.path.suffix.lower() == ".csv" else None)

    def _json_lines(self) -> Iterator[tuple[int, Any]]:
        size, row = max(self.path.stat().st_size, 1), -1
        with open(self.path, "rb") as file:
            for number, start, text in pieces(file):
                self.start, self.length, self.done = start, len(text), (start + len(text)) / size
                self.wrapped |= b"\n" in text.strip()
                row += bool(text.strip(BLANK))
                try:
                    if decoded := text.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                        value = json.loads(decoded)
                        if too_deep(value, decoded.count("[") + decoded.count("{")):
                            raise ValueError(TOO_DEEP)
                        yield row, value
                except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are the first
                    cut = "" if text.endswith(b"\n") else "; is the file cut off?"
                    self._complain(row, f"line {number} is not valid JSON ({error}){cut}")

    def _complain(self, row: int, message: str) -> None:
        if self.on_error is None:
            raise RowError(f"{self.path}, row {row}: {message}.")
        self.on_error(row, message)

    def _json_list(self) -> Iterator[Any]:
        size = max(self.path.stat().st_size, 1)
        with self._open() as file:
            stream = JsonList(file, str(self.path))
            for value in stream:
                self.done = min(stream.read / size, 1.0)
                yield value

    def _text_rows(self) -> Iterator[tuple[int, Any]]:
        with self._open() as file:
            try:
                yield from ((number, {"text": line.rstrip("\n")}) for number, line in enumerate(file))
            except UnicodeDecodeError as error:
                raise RowError(f"{self.path}: is not UTF-8 ({error}); save it as UTF-8.") from error

    def _csv_rows(self) -> Iterator[tuple[int, Any]]:
        with self._open() as file:
            try:
                rows = (row for row in csv.DictReader(file, strict=True) if not _is_blank(row))
                for number, row in enumerate(rows):
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
    """The rows of one file; see RowReader."""
    yield from RowReader(Path(path), on_error)


def _is_blank(row: dict[Any, Any]) -> bool:
    """Whether a row of a CSV file is an empty line with spaces in it."""
    first, *others = row.values()
    return not first.strip() and set(others) <= {None}


def is_list(path: Path) -> bool:
    """Whether a JSON file is one list of rows, rather than rows one after the other, of which the first is a list."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        while (character := file.read(1)).isspace():
            pass
        if character != "[" or path.suffix.lower() == ".json":
            return character == "["
        try:
            json.loads(character + file.readline(BLOCK))
        except (ValueError, RecursionError):
            return True
        return not file.read(BLOCK).strip()
