# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows of a file by their position: all of them once, as a stream, and any of them again.

| file | where a row is | read again |
|---|---|---|
| .json, .jsonl | its first byte, and how many | by seeking |
| .parquet, .arrow | its number | the batch that holds it; the last one is kept |
| .csv, .txt | in a temporary file of JSON lines, which they are copied to | by seeking |
"""

from __future__ import annotations

import io
import json
import tempfile
from array import array
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from ..rows.validate.json_lines import BLANK
from .json_list import JsonList
from .read import WATCH, OnError, RowError, RowReader, is_list
from .tables import TABLES, batch_at

MARK = b"\xef\xbb\xbf"  # of byte order


class Positions:
    """The rows of a file, by position. Iterate once over all; `read` then returns any of those that came out.

    Args:
        path: of the file.
        on_error: as for `RowReader`: what it is called with is left out.

    Attributes:
        done: the part of the file that has been read, from 0 to 1.
    """

    def __init__(self, path: Path, on_error: OnError) -> None:
        self.path, self.on_error = path, on_error
        self.done = 0.0
        self.numbers, self._starts, self._lengths = array("Q"), array("Q"), array("Q")
        self._file: IO[bytes] | None = None
        self._stamp = self._now()

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield (number in the file, row).

        Raises:
            RowError: if the file cannot be read, or not to its end.
        """
        suffix = self.path.suffix.lower()
        json_like = suffix in (".json", ".jsonl")
        if suffix in TABLES:
            rows = self._plain()
        elif json_like and is_list(self.path):
            rows = self._list() if (watch := WATCH.get()) is None else watch(self, self._list())
        else:
            rows = self._lines() if json_like else self._copied()
        yield from rows
        self.done = 1.0

    def read(self, place: int) -> Any:
        """The row at a place, counted from 0 over those that came out.

        Raises:
            RowError: if the file has changed since it was opened.
        """
        if self._now() != self._stamp:
            raise RowError(f"{self.path}: was changed after it was opened; end the command and start it again.")
        if self.path.suffix.lower() in TABLES:
            number = self.numbers[place]
            start, rows = _batch(self.path, number, self._stamp)
            return rows[number - start]
        if self._file is None:
            self._file = open(self.path, "rb")  # noqa: SIM115  as long as this object lives
        self._file.seek(self._starts[place])
        return json.loads(self._file.read(self._lengths[place]).decode("utf-8"))

    def _now(self) -> tuple[int, int, int]:
        status = self.path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _add(self, number: int, start: int = 0, length: int = 0) -> None:
        self.numbers.append(number)
        self._starts.append(start)
        self._lengths.append(length)

    def _plain(self) -> Iterator[tuple[int, Any]]:
        reader = RowReader(self.path, self.on_error)
        for number, row in reader:
            self.done = reader.done
            self._add(number)
            yield number, row

    def _lines(self) -> Iterator[tuple[int, Any]]:
        reader = RowReader(self.path, self.on_error)
        for number, row in reader:
            self.done = reader.done
            start = reader.start + len(MARK) * (reader.start == 0 and self._is_marked())
            self._add(number, start, reader.length - (start - reader.start))
            yield number, row

    def _list(self) -> Iterator[tuple[int, Any]]:
        """The rows of a JSON list, whose text is taken for Latin-1 to find them: a character is a byte then."""
        size, marked = max(self.path.stat().st_size, 1), len(MARK) * self._is_marked()
        with open(self.path, "rb") as file:
            file.seek(marked)
            stream = JsonList(io.TextIOWrapper(file, encoding="latin-1", newline=""), str(self.path))
            self._file = open(self.path, "rb")  # noqa: SIM115  as long as this object lives
            end = 0
            for number, _ in enumerate(stream):
                start, end = end, stream.read - len(stream.text) + stream.at
                self._file.seek(start + marked)
                text = self._file.read(end - start)
                row = text.lstrip(BLANK)[1:].lstrip(BLANK)  # behind the bracket, or a comma
                start += len(text) - len(row)
                try:
                    value = json.loads(row.decode("utf-8"))
                except UnicodeDecodeError as error:
                    raise RowError(f"{self.path}, row {number}: is not UTF-8 ({error}); save it as UTF-8.") from error
                self.done = min(end / size, 1.0)
                self._add(number, start + marked, len(row))
                yield number, value

    def _copied(self) -> Iterator[tuple[int, Any]]:
        reader, start = RowReader(self.path, self.on_error), 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  as long as this object lives
        for number, row in reader:
            text = json.dumps(row).encode()
            self._file.seek(start)
            self._file.write(text)
            self.done = reader.done
            self._add(number, start, len(text))
            start += len(text)
            yield number, row

    def _is_marked(self) -> bool:
        with open(self.path, "rb") as file:
            return file.read(len(MARK)) == MARK


@lru_cache(maxsize=2)
def _batch(path: Path, number: int, stamp: tuple[int, int, int]) -> tuple[int, list[Any]]:
    return batch_at(path, number)
