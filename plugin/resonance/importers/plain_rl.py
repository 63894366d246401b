# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`plain_rl`: a question, its media, and whatever columns the rewards read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..datafiles.columns import ALIASES, MEDIA_COLUMNS
from ..datafiles.unread import is_rejected, media_kind
from .columns import media, value
from .dialogue import held_media, read_dialogue
from .spec import Example, Importer, Options, question

_WRITTEN = ("instruction", *MEDIA_COLUMNS)  # by the frame; no column of the row may take their place


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one prompt; columns that hold no media stay beside it under their own names."""
    asked = value(row, *ALIASES["prompt"])
    asked_in = next(name for name in ALIASES["prompt"] if row.get(name) is not None)
    kept = [
        name
        for name, held in row.items()
        if name not in (asked_in, *ALIASES["system"], *_WRITTEN)
        and media_kind([held]) is None
        and not is_rejected(name)
    ]
    yield prompted(row, asked, {name: row.get(name) for name in kept})


def prompted(row: dict[str, Any], asked: Any, beside: dict[str, Any]) -> Example:
    """The prompt of a row, text or messages, with its media under their usual names.

    Args:
        row: the raw row.
        asked: the question.
        beside: columns to keep.
    """
    if isinstance(asked, str):
        turns, images, videos = question(asked), media(row, "images"), media(row, "videos")
    else:
        talk = read_dialogue(asked, "prompt")
        turns, (images, videos) = talk.turns, (held_media(row, talk, name) for name in ("images", "videos"))
    instructions = next((row[name] for name in ALIASES["system"] if row.get(name)), None)
    if instructions and turns[:1] and turns[0][0] != "system":
        turns = [("system", instructions), *turns]
    return Example(turns, unanswered=True, images=images, videos=videos, extra=beside)


IMPORTER = Importer(
    name="plain_rl",
    summary="your own prompts for rewards: [{image, prompt}], or question or problem; the other columns are kept",
    convert=convert,
    stage="ppo",
    layout="alpaca",
)
