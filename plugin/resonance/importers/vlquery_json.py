# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`vlquery_json`: conversations about an image, learned as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import references, value
from .dialogue import read_dialogue
from .spec import Example, Importer, Options


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One conversation, one example."""
    turns = read_dialogue(value(row, "conversations"), "conversations").turns
    yield Example(turns, images=references(row, "image", "images"))


IMPORTER = Importer(
    name="vlquery_json",
    summary="your own conversations: [{image, conversations: [{from: user | assistant, value}]}]; image is optional",
    convert=convert,
    stage="sft",
)
