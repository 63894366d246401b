# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Files in the output folder that list rows, and warnings about the first rows of a stream."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from llamafactory.extras import logging

from ...upstream import TrainingArguments
from ..types import Row
from .findings import SHOWN

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
SKIPPED_FILE = "skipped_rows.jsonl"
SHORTENED_FILE = "shortened_rows.jsonl"
OVERLONG_FILE = "overlong_rows.jsonl"


@dataclass
class RowLog:
    """A file with one JSON object a line: ``source``, ``row`` and what is to be known; no row twice.

    Attributes:
        path: the file.
        writes: False on all ranks but the first, where nothing is written.
        seen: (source, row) of the rows in the file.
        size: of the file when it was last written.
    """

    path: str
    writes: bool = True
    seen: set[tuple[str, int]] = field(default_factory=set)
    size: int = 0

    def add(self, entries: Iterable[Row]) -> None:
        """Append the rows that are not listed yet.

        Raises:
            ValueError: if the file cannot be written.
        """
        if not self.writes:
            return
        try:
            self._read_what_others_added()
            new = {(entry["source"], entry["row"]): entry for entry in entries}
            new = {place: entry for place, entry in new.items() if place not in self.seen}
            if not new:
                return
            self.seen.update(new)
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in new.values())
            self.size = os.path.getsize(self.path)
        except OSError as error:
            raise ValueError(f"Cannot write {self.path} ({error}). Choose a writable `output_dir`.") from error

    def _read_what_others_added(self) -> None:
        """The data workers of a stream write the same file, each in its own process and anew in every epoch."""
        if not os.path.exists(self.path) or os.path.getsize(self.path) == self.size:
            return
        with open(self.path, encoding="utf-8") as file:
            listed = [json.loads(line) for line in file if line.endswith("}\n")]
        self.seen.update((entry["source"], entry["row"]) for entry in listed)


_LOGS: dict[str, RowLog] = {}


def open_row_log(training_args: TrainingArguments, name: str) -> RowLog:
    """Return this process's list of rows in a file of the output folder.

    The first call removes the list of an earlier run.

    Raises:
        ValueError: if that list cannot be removed.
    """
    path = os.path.join(training_args.output_dir, name)
    if path not in _LOGS:
        first_rank = training_args.process_index == 0
        try:
            if first_rank and os.path.exists(path):
                os.remove(path)
        except OSError as error:
            raise ValueError(f"Cannot replace {path} ({error}). Choose a writable `output_dir`.") from error
        _LOGS[path] = RowLog(path, first_rank)
    return _LOGS[path]


def summarize_skips(dataset: str, skips: Sequence[Row], total: int, log: RowLog) -> str:
    """Return one line: how many rows were kept, and the first rows left out for each reason.

    Args:
        dataset: its name.
        skips: entries of the list, with a ``reason`` each.
        total: rows of the dataset before any was left out.
        log: the list.
    """
    rows: dict[str, list[str]] = {}
    one_source = len({skip["source"] for skip in skips}) == 1
    for skip in skips:
        place = str(skip["row"]) if one_source else f"{skip['source']}:{skip['row']}"
        rows.setdefault(skip["reason"], []).append(place)
    reasons = (
        f"{len(numbers)} {reason} ({', '.join(numbers[:5])}{', ...' * (len(numbers) > 5)})"
        for reason, numbers in sorted(rows.items(), key=lambda item: -len(item[1]))
    )
    return (
        f"Dataset {dataset}: kept {total - len(skips)} of {total} rows, "
        f"skipped {len(skips)} (reason, rows): {'; '.join(reasons)}. "
        f"Every skipped row is listed in {log.path}."
    )


@dataclass
class StreamWarnings:
    """Warn of the first rows of a stream, once each; data workers and epochs come to the same row again.

    Attributes:
        log: lists all of them; where it does not write, nobody warns.
        what: what such rows are called.
        rows: (source, row) of the rows that were warned of.
    """

    log: RowLog
    what: str
    rows: set[tuple[str, int]] = field(default_factory=set)

    def warn(self, place: tuple[str, int], message: str) -> None:
        """Warn of a row unless it was done before or enough rows were warned of."""
        if not self.log.writes or place in self.rows or len(self.rows) == SHOWN:
            return
        self.rows.add(place)
        last = f" Further {self.what} rows of this dataset are only listed there." * (len(self.rows) == SHOWN)
        logger.warning(message + last)
