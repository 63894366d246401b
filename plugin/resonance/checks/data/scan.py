# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One pass over a data set: every row is judged and counted, none is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datafiles.read import RowError, RowReader
from ...datafiles.sample import Table
from ...datafiles.unread import is_rejected, media_kind
from ...rows.fields import SCORE_FIELDS, score_problem
from ...rows.validate.column_types import text_places
from ...rows.validate.findings import EMPTY_RESPONSE, INVALID_TURNS
from ...rows.validate.json_head import JsonHead
from ..quiet import quiet
from .columns import PER_ROW, Columns
from .duplicates import Duplicates, Leakage
from .entry import Entry
from .findings import Findings, Problem
from .judge import Judge, Options
from .kinds import Found, has_error
from .rowfile import rows_of, unloadable, unread
from .tally import Tally

WINDOW = 64  # rows whose images are opened side by side; each may hold its images as bytes
WRONG_ENTRY = (INVALID_TURNS, "row unreadable", EMPTY_RESPONSE, "bad score", "empty prompt")  # all rows have it then
Watcher = Callable[[str, int, dict[str, Any], list[Found]], None]


@dataclass
class Scan:
    """What one pass over a data set found, beside the problems.

    Args:
        entry: the data set.
        options: what is asked of its rows.
        findings: takes the problems.
        watch: called with (file, row number, aligned row, what was found) for every row that could be aligned.

    Attributes:
        rows: how many there are.
        unread: how many rows have only a number, because they could not be read.
        seconds: how long it took.
        columns: types of the columns, by file.
        tallies: numbers for histograms, by name.
        beside: which columns are not read, in words, by file.
    """

    entry: Entry
    options: Options
    findings: Findings
    watch: Watcher | None = None
    rows: int = 0
    unread: int = 0
    seconds: float = 0.0
    columns: dict[str, Columns] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.judge = Judge(self.entry, self.options)
        self.seen = Duplicates()

    @property
    def files(self) -> list[str]:
        return [str(path) for path in self.entry.files]

    def run(self) -> Scan:
        """Scan all files; problems of any kind go to `findings`, none is raised."""
        start = time.perf_counter()
        for kind, message in self.entry.complaints:
            self.findings.add(Problem(self.files[0], None, kind, message))
        with quiet():
            for path in self.entry.files:
                self._file(path)
        if sizes := self.judge.probe.sizes:
            longer = (max(pair) for pair in zip(sizes[::2], sizes[1::2], strict=True))
            self.tallies["image"] = Tally("Longer side of images, pixels", longer)
        self.seconds = time.perf_counter() - start
        return self

    def _file(self, path: Path) -> None:
        file, columns = str(path), Columns()
        self.columns[file] = columns

        def unreadable_line(row: int, message: str) -> None:
            self.unread += 1
            self.findings.add(Problem(file, row, unread(path), message))

        before = self.rows
        if self.entry.columns:
            self._unread(file, path)
        try:
            head = JsonHead()
            reader, rows = rows_of(self.entry, path, unreadable_line, head)
            for window in _windows(rows):
                self._window(file, columns, window)
            self._whole(file, columns, reader, head)
        except (RowError, OSError) as error:
            if self.rows == before:
                self.findings.discard(file, (unread(path),))
            row = getattr(error, "row", None)
            self.unread += row is not None
            self.findings.add(Problem(file, row, "file unreadable", str(error)))
        else:
            if self.rows == before:
                self.findings.add(Problem(file, None, "no rows", "no row could be read"))
        self._close(file, path, columns)

    def _whole(self, file: str, columns: Columns, reader: RowReader, head: JsonHead) -> None:
        """Tell what keeps `datasets` from reading a JSON file as it stands there."""
        entry, found = self.entry, list(head.findings(file))
        if reader.lines:
            texts = text_places(entry.formatting, entry.columns, entry.tags["content_tag"])
            found += columns.dates(file, texts)
        elif reader.path.suffix.lower() in (".json", ".jsonl"):
            found += columns.large(file)
        for each in found:
            self.findings.add(Problem(file, each.row, each.kind, each.message))
        if (why := unloadable(reader)) is not None:
            self.findings.add(Problem(file, None, "file unreadable", why))

    def _close(self, file: str, path: Path, columns: Columns) -> None:
        """Tell what only the whole file shows."""
        if path.suffix.lower() != ".csv":
            for mixed in columns.mixed(file, self.findings.rows_of("error", file)):
                self.findings.add(Problem(file, mixed.row, mixed.kind, mixed.message))
        missing = list(columns.missing(self.entry)) if columns.count else []
        for key, message in missing:
            self.findings.discard(file, PER_ROW.get(key, ()))
            self.findings.add(Problem(file, None, "column missing", message))
        if missing and columns.count == 1 and len(missing) == len(self.entry.columns):
            self.findings.discard(file, ("column missing", "mixed column"))
            told = "is one JSON object, which is read as one row; put its rows into a list [...]"
            self.findings.add(Problem(file, None, "file unreadable", told))
        if self.entry.complaints and self.findings.rows("error", [file]) == columns.count:
            self.findings.discard(file, WRONG_ENTRY)

    def _unread(self, file: str, path: Path) -> None:
        """Tell of columns that the entry does not name; a rejected answer among them is half of a pair."""
        try:
            table = Table.of(path)
        except (RowError, OSError):
            return  # the scan tells why
        entry, read = self.entry, set(self.entry.columns.values())
        if entry.prompts:  # rewards read the rest, or what `meta` names
            read |= set(entry.prompts.meta or (name for name in table.names if not media_kind(table.values(name))))
        self.beside[file] = table.told_unread(read)
        lost = [name for name in table.names if is_rejected(name) and name not in read and table.values(name)]
        if lost and not entry.ranking and not entry.prompts and not entry.answers_alone:
            told = f"{', '.join(lost)}: not read, because the set has no pairs; half of each pair would be lost"
            self.findings.add(Problem(file, None, "rejected unread", told))
        media = [name for name in table.names if name not in read and media_kind(table.values(name))]
        self.judge.align.beside |= set(media)
        if media and not entry.has_media:
            told = f"{', '.join(media)}: looks like media, and the entry names none"
            self.findings.add(Problem(file, None, "media unread", told))

    def _window(self, file: str, columns: Columns, window: list[tuple[int, Any]]) -> None:
        prepared = [(number, row, *self.judge.aligned(row)) for number, row in window]
        images = [image for _, _, aligned, _ in prepared if aligned for image in aligned["_images"] or ()]
        self.judge.probe.look_ahead(images)
        for number, row, aligned, found in prepared:
            self.rows += 1
            if isinstance(row, dict):
                columns.add(number, row)
            if aligned is not None:
                found = self.judge.alone(row, aligned)
                if aligned["_prompt"] and not aligned["_broken"]:
                    found += self.judge.beside(self.seen, file, number, aligned)
                self._count(row, aligned, found)
                if self.watch is not None:
                    self.watch(file, number, aligned, found)
            for kind, message in found:
                self.findings.add(Problem(file, number, kind, message))

    def _count(self, row: dict[str, Any], aligned: dict[str, Any], found: list[Found]) -> None:
        """Take the numbers of a row into the histograms; scores of all rows, lengths of sound ones."""
        if self.entry.ranking:
            scores: list[Any] = [row.get(self.entry.columns[key]) for key in SCORE_FIELDS if key in self.entry.columns]
            if len(scores) == 2 and not any(map(score_problem, scores)):
                for key, score in zip(SCORE_FIELDS, scores, strict=True):
                    self._tally(key, f"`{key}`", float(score))
                self._tally("margin", "Score margin, chosen - rejected", float(scores[0]) - float(scores[1]))
        if has_error(found):
            return
        prompt = sum(len(message["content"]) for message in aligned["_prompt"])
        self._tally("prompt", "Prompts, characters", prompt)
        answers = [len(message["content"]) for message in aligned["_response"]]
        if "kto_tag" in self.entry.columns:  # beside the answer stands LlamaFactory's empty one
            answers = [max(answers)]
        for length in answers:
            self._tally("answer", "Answers, characters", length)

    def _tally(self, key: str, title: str, value: float) -> None:
        tally = self.tallies.get(key) or self.tallies.setdefault(key, Tally(title))
        tally.add(value)


def _windows(rows: Iterator[Any]) -> Iterator[list[Any]]:
    """Lists of rows; those before a break of the file come before its RowError."""
    window: list[Any] = []
    try:
        for row in rows:
            window.append(row)
            if len(window) == WINDOW:
                yield window
                window = []
    except RowError:
        yield window
        raise
    yield window


def remember(entry: Entry, leakage: Leakage) -> list[str]:
    """Read another set for a comparison; returns, in words, what of it could not be read."""
    judge, complaints = Judge(entry, Options()), [message for _, message in entry.complaints]

    def complain(row: int, message: str) -> None:
        complaints.append(f"row {row}: {message}")

    for path in entry.files:
        try:
            for number, row in rows_of(entry, path, complain)[1]:
                aligned, found = judge.aligned(row)
                complaints += [f"{path}, row {number}: {message}" for _, message in found]
                if aligned is not None and aligned["_prompt"]:
                    leakage.remember(number, aligned)
        except RowError as error:
            complaints.append(str(error))
    return complaints
