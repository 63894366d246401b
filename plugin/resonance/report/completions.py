# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`completions.jsonl` as HTML: on the page of a run in progress, and on that of a report. Every text is escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..rows.thumbnails import thumbnail

if TYPE_CHECKING:
    from jinja2 import Environment

FILE, PAGE = "completions.jsonl", "completions.html"
TEMPLATE = f"{PAGE}.j2"
ROLLOUTS, PROMPTS, COMPLETIONS = 4, 16, 8  # on the page: the newest, prompts of each, completions of a prompt
PICTURES, CHARACTERS = 4, 2000  # of a prompt; of a text

Record = dict[str, Any]
Images = Callable[[Record], Sequence[Any]]


def shown(rollout: Iterable[Record], prompts: int = PROMPTS) -> list[list[Record]]:
    """The first completions of the first prompts of a rollout, by prompt."""
    groups = groupby(rollout, lambda record: record["row"])
    return [list(islice(group, COMPLETIONS)) for _, group in islice(groups, prompts)]


def environment(images: Images) -> Environment:
    """Templates of this room, with the filters and the pictures that completions are shown with.

    Args:
        images: of a completion.
    """
    from jinja2 import Environment, FileSystemLoader

    made = Environment(autoescape=True, loader=FileSystemLoader(Path(__file__).parent), finalize=writable)
    made.filters |= {"shorten": _shorten, "number": _number}
    made.globals["pictures"] = lambda record: list(filter(None, map(thumbnail, images(record)[:PICTURES])))
    return made


def page(rollouts: Sequence[list[list[Record]]], images: Images) -> str:
    """A page that needs no other file.

    Args:
        rollouts: what `shown` gives, the newest first.
        images: of a completion.
    """
    template = environment(images).get_template(TEMPLATE)
    return template.render(rollouts=rollouts, limits=(ROLLOUTS, PROMPTS, COMPLETIONS), file=FILE)


def images_of(record: Record) -> list[Any]:
    """Paths of the pictures of a completion; none where they were not in files, nor in files of older runs."""
    found = record.get("images")
    return [path for path in found if isinstance(path, str)] if isinstance(found, list) else []


def read(path: Path) -> Iterator[Record]:
    """Completions of a file, one by one; lines that a killed run left half are passed over."""
    needed = {"rollout", "row", "step", "prompt", "completion", "reward", "rewards"}
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and needed <= record.keys() and isinstance(record["rewards"], dict):
                yield record


def writable(value: Any) -> Any:
    """Text with characters that UTF-8 can hold; a completion may have halves of one."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if type(value) is str else value


def _shorten(text: str) -> str:
    return text if len(text) <= CHARACTERS else text[:CHARACTERS] + " ..."


def _number(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, int | float) else _shorten(str(value))
