# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Preference pairs as TRL takes them: texts or message lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import scores, value
from .dialogue import held_media, read_pair
from .spec import Example, Importer, Options


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair; a prompt that is not there is what the two answers begin with alike."""
    yield paired(row, row.get("prompt"))


def paired(row: dict[str, Any], prompt: Any) -> Example:
    """The pair of a row's `chosen` and `rejected`, with media and scores under their usual names."""
    pair = read_pair(prompt, value(row, "chosen"), value(row, "rejected"))
    images, videos = (held_media(row, pair.prompt, name) for name in ("images", "videos"))
    return Example(pair.prompt.turns, pair.chosen, pair.rejected, images=images, videos=videos, scores=scores(row))


IMPORTER = Importer(
    name="trl",
    summary="any set with images or none in TRL's preference format: prompt, chosen, rejected as text or messages",
    convert=convert,
)
