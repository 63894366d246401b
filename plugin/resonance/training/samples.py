# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`completions.jsonl`: every completion of a run, with what it was rewarded for; the newest as a page, too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..report.completions import FILE, PAGE, ROLLOUTS, Record, page, shown
from .json_lines import JsonLines


class SampleLog:
    """Appends to the file. After a resume, what had been written since the checkpoint is written again, not twice.

    Args:
        folder: output folder of the run.

    Attributes:
        newest: of the newest rollouts what the page shows, the newest last.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder, FILE)
        self.lines = JsonLines(self.path)
        self.newest: deque[list[list[Record]]] = deque(maxlen=ROLLOUTS)

    def start(self, rollouts: int) -> None:
        """Keep the lines of the first `rollouts` rollouts."""
        self.lines.keep(lambda record: record["rollout"] < rollouts)
        newest = (record for record in self.lines if record["rollout"] >= rollouts - ROLLOUTS)
        for _, rollout in groupby(newest, lambda record: record["rollout"]):
            self.newest.append(shown(rollout))

    def add(self, records: Sequence[Record]) -> None:
        """Append the records of a rollout, one a line; those of a prompt one after the other."""
        self.lines.add(records)
        self.newest.append(shown(records))

    def write_page(self, images: Callable[[int], Sequence[Any]]) -> None:
        """Write the newest rollouts as a page that needs no other file; every text in it is escaped.

        Args:
            images: of a row of the training set.
        """
        if not self.newest:
            return
        text = page(list(reversed(self.newest)), lambda record: images(record["row"]))
        _replace(self.path.with_name(PAGE), text)


class PageWriter(TrainerCallback):
    """Writes the page with every checkpoint, and at the end.

    Args:
        samples: what it shows.
        images: of a row of the training set.
    """

    def __init__(self, samples: SampleLog, images: Callable[[int], Sequence[Any]]) -> None:
        self.samples, self.images = samples, images

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.samples.write_page(self.images)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.samples.write_page(self.images)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    partial.replace(path)
