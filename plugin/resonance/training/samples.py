# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`completions.jsonl`: every completion of a run, with what it was rewarded for; the newest as a page, too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..rows.thumbnails import thumbnail
from .json_lines import JsonLines, Record

FILE, PAGE = "completions.jsonl", "completions.html"
TEMPLATE = f"{PAGE}.j2"
ROLLOUTS, PROMPTS, COMPLETIONS = 4, 16, 8  # on the page: the newest, prompts of each, completions of a prompt
PICTURES, CHARACTERS = 4, 2000  # of a prompt; of a text


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
            self.newest.append(_shown(rollout))

    def add(self, records: Sequence[Record]) -> None:
        """Append the records of a rollout, one a line; those of a prompt one after the other."""
        self.lines.add(records)
        self.newest.append(_shown(records))

    def write_page(self, images: Callable[[int], Sequence[Any]]) -> None:
        """Write the newest rollouts as a page that needs no other file; every text in it is escaped.

        Args:
            images: of a row of the training set.
        """
        if not self.newest:
            return
        from jinja2 import Environment, FileSystemLoader

        environment = Environment(autoescape=True, loader=FileSystemLoader(Path(__file__).parent))
        environment.filters |= {"shorten": _shorten, "number": _number}
        page = environment.get_template(TEMPLATE).render(
            rollouts=list(reversed(self.newest)),
            pictures=lambda row: list(filter(None, map(thumbnail, images(row)[:PICTURES]))),
            limits=(ROLLOUTS, PROMPTS, COMPLETIONS),
            file=FILE,
        )
        _replace(self.path.with_name(PAGE), page)


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


def _shown(rollout: Iterable[Record]) -> list[list[Record]]:
    """The first completions of the first prompts of a rollout, by prompt."""
    groups = groupby(rollout, lambda record: record["row"])
    return [list(islice(group, COMPLETIONS)) for _, group in islice(groups, PROMPTS)]


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    partial.replace(path)


def _shorten(text: str) -> str:
    return text if len(text) <= CHARACTERS else text[:CHARACTERS] + " ..."


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
