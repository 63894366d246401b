# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`plain_rl`: a question, its media, and whatever columns the rewards read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..datafiles.columns import ALIASES, MEDIA_COLUMNS
from ..datafiles.unread import is_rejected, media_kind
from .columns import media, text
from .spec import Example, Importer, Options, question

_WRITTEN = ("instruction", *MEDIA_COLUMNS)  # by the frame; no column of the row may take their place


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one prompt; columns that hold no media stay beside it under their own names."""
    turns = question(text(row, *ALIASES["prompt"]))
    if instructions := next((row[name] for name in ALIASES["system"] if row.get(name)), None):
        turns = [("system", instructions), *turns]
    images, videos = media(row, "images"), media(row, "videos")
    asked_in = next(name for name in ALIASES["prompt"] if row.get(name) is not None)
    kept = [
        name
        for name, held in row.items()
        if name not in (asked_in, *ALIASES["system"], *_WRITTEN)
        and media_kind([held]) is None
        and not is_rejected(name)
    ]
    extra = {name: row.get(name) for name in kept}
    yield Example(turns, unanswered=True, images=images, videos=videos, extra=extra)


IMPORTER = Importer(
    name="plain_rl",
    summary="your own prompts for rewards: [{image, prompt}], or question or problem; the other columns are kept",
    convert=convert,
    stage="ppo",
    terms="yours",
    layout="alpaca",
)
