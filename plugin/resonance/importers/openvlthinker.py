# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""OpenVLThinker's supervised rows, arXiv 2503.17352."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .columns import references, value
from .dialogue import read_dialogue
from .spec import Example, Importer, Options


def convert(row: dict[str, Any], options: Options) -> Iterator[Example]:
    """``messages`` of role and content with `<image>` in place, ``images`` embedded or as paths."""
    turns = read_dialogue(value(row, "messages"), "messages").turns
    yield Example(turns, images=references(row, "images"))


IMPORTER = Importer(
    name="openvlthinker",
    summary="questions about images and long worked answers, for supervised fine-tuning",
    convert=convert,
    stage="sft",
    hub_id="ydeng9/OpenVLThinker-sft-iter3",
)
