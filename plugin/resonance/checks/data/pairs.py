# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The pairs of a data set as conversations and answers, read as LlamaFactory reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...rows.fields import ROW, SCORE_FIELDS, SOURCE, conversation, score_problem
from .align import Aligner, Unreadable
from .entry import Entry, find_entries
from .rowfile import rows_of

Pair = dict[str, Any]
UNSUPPORTED = ("_videos", "_audios")


def read_pairs(target: str, dataset_dir: str, media_dir: str | None, on_skip: Callable[[str], None]) -> Iterator[Pair]:
    """Pairs with `messages`, `tools`, `chosen`, `rejected`, `images`, origin, `raw` row, and scores where there are
    some.

    Args:
        target: a name in dataset_info.json, a file or a folder.
        dataset_dir: of dataset_info.json.
        media_dir: where relative paths start; None for what the entry says.
        on_skip: called with what is wrong with a row that is left out, and where it is.

    Raises:
        ValueError: there is no such set, or it has no pairs.
    """
    for entry in find_entries(target, dataset_dir, media_dir):
        if not entry.ranking:
            raise ValueError(f'{target}: has no pairs ({entry.origin}); a preference set has "ranking": true')
        yield from _of_entry(entry, on_skip)


def _of_entry(entry: Entry, on_skip: Callable[[str], None]) -> Iterator[Pair]:
    align = Aligner(entry)
    for path in entry.files:

        def skip(number: int, why: str, path: Any = path) -> None:
            on_skip(f"{path}, row {number}: {why}")

        _, rows = rows_of(entry, path, skip)
        for number, row in rows:
            try:
                aligned = align(row)
            except Unreadable as error:
                skip(number, str(error))
                continue
            held = next((name[1:] for name in UNSUPPORTED if aligned.get(name)), None)
            if why := aligned["_broken"] or (held and f"it has {held}, which reward models are not given here"):
                skip(number, why)
                continue
            if len(aligned["_response"]) < 2:  # LlamaFactory drops such a row of `alpaca` without a word
                skip(number, "chosen and rejected are not both texts")
                continue
            yield _pair(entry, aligned, row) | {SOURCE: str(path), ROW: number}


def _pair(entry: Entry, aligned: dict[str, Any], row: dict[str, Any]) -> Pair:
    chosen, rejected = (message["content"] for message in aligned["_response"])
    scores: dict[str, Any] = {name: row.get(entry.columns[name]) for name in SCORE_FIELDS if name in entry.columns}
    found = {"messages": conversation(aligned), "chosen": chosen, "rejected": rejected}
    known = {name: float(value) for name, value in scores.items() if score_problem(value) is None}
    return {**found, "tools": aligned["_tools"] or "", "images": aligned["_images"] or [], "raw": row, **known}
