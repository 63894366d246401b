# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows of a file, one at a time, in memory that does not grow with the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .json_list import TOO_DEEP, JsonList, RowError, too_deep
from .tables import table_batches

SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".arrow")
BLANK = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, white space
UTF_16 = (b"\xff\xfe", b"\xfe\xff")

OnError = Callable[[int, str], None]


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
    if path.suffix.lower() not in SUFFIXES:
        kind = path.suffix or "(no suffix)"
        raise RowError(f"{path}: files of type {kind} are not read; use {', '.join(SUFFIXES)}.")
    return [path]


@dataclass
class RowReader:
    """Iterate over the rows of one file as ``(row number from 0, value)``.

    Args:
        path: a file with one of SUFFIXES. ``.json`` holds a list of rows, or one row a line as ``.jsonl`` does.
        on_error: called with (row number, what is wrong) for a line that is no JSON; the row is then left out.
            None raises instead. A list that breaks off raises in any case: nothing after the break can be trusted.

    Attributes:
        done: the part of the file that has been read, from 0 to 1.
        lines: whether it is read as JSON, one row a line; known once the first row is out.
        start: bytes before the line that was read last, if so.

    Raises:
        RowError: while iterating; names file, row, line and column.
    """

    path: Path
    on_error: OnError | None = None
    done: float = field(default=0.0, init=False)
    lines: bool = field(default=False, init=False)
    start: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        (self.path,) = data_files(self.path)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield (row number, value); values are dicts in a sound file, but whatever the file holds is handed out."""
        broken = None
        try:
            before = self._stamp()
            try:
                yield from self._rows()
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
        elif suffix == ".jsonl" or _first_character(self.path) != "[":
            self.lines = True
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
                self.start, read = read, read + len(line)
                self.done = read / size
                row += bool(line.strip(BLANK))
                try:
                    if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                        value = json.loads(text)
                        if too_deep(value, text.count("[") + text.count("{")):
                            raise ValueError(TOO_DEEP)
                        yield row, value
                except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are the first
                    cut = "" if line.endswith(b"\n") else "; is the file cut off?"
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
    """The rows of one file; see RowReader."""
    yield from RowReader(Path(path), on_error)


def _first_character(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        while (character := file.read(1)).isspace():
            pass
        return character
