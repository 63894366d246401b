# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`plain_dpo`: a prompt, two answers, and an image or none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..datafiles.columns import ALIASES
from .columns import media, scores, text
from .spec import Example, Importer, Options, question


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair; question, media and scores under any of their usual names."""
    asked = text(row, "prompt", *ALIASES["prompt"])
    turns, chosen, rejected = question(asked), text(row, "chosen"), text(row, "rejected")
    images, videos = media(row, "images"), media(row, "videos")
    yield Example(turns, chosen, rejected, images=images, videos=videos, scores=scores(row))


IMPORTER = Importer(
    name="plain_dpo",
    summary="your own pairs: [{image, prompt, chosen, rejected}], all text; image, video and two scores are optional",
    convert=convert,
)
