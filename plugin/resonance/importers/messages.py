# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Supervised rows as chats write them: texts, or parts of which some are images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .columns import value
from .dialogue import held_media, read_dialogue
from .spec import Example, Importer, Options


def convert(row: dict[str, Any], options: Options) -> Iterator[Example]:
    """``messages`` of role and content; images and videos within them, or in columns beside `<image>` in place."""
    talk = read_dialogue(value(row, "messages"), "messages")
    images, videos = (held_media(row, talk, name) for name in ("images", "videos"))
    yield Example(talk.turns, images=images, videos=videos)


IMPORTER = Importer(
    name="messages",
    summary="any set of messages for supervised fine-tuning, with images within the messages or beside them",
    convert=convert,
    stage="sft",
)
