# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""VLGuard, arXiv 2402.02207: what to answer, and what to decline, about safe and unsafe images.

A row of ``train.json`` is ``{id, image, safe, harmful_category, harmful_subcategory, instr-resp}``, the last a list of
one ``{instruction, response}`` about an unsafe image, of ``{safe_instruction, ...}`` and ``{unsafe_instruction, ...}``
about a safe one, as in the authors' repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .columns import image, labels, text, value
from .spec import Example, Importer, Misshaped, Options, question

KINDS = ("instruction", "safe_instruction", "unsafe_instruction")


def convert(row: dict[str, Any], options: Options) -> Iterator[Example]:
    """An example for each instruction. The authors put those about one image into one conversation, in drawn order."""
    told = value(row, "instr-resp")
    if not isinstance(told, list) or not all(isinstance(pair, dict) for pair in told):
        raise Misshaped("instr-resp is no list of instructions", repr(told)[:60])
    for pair in told:
        turns = [*question(text(pair, *KINDS)), ("assistant", text(pair, "response"))]
        yield Example(turns, images=[image(row, "image")], extra=labels(row, "id", "safe", "harmful_category"))


IMPORTER = Importer(
    name="vlguard",
    summary="instructions about images, answered or declined, for supervised fine-tuning; --image-root: train.zip",
    convert=convert,
    stage="sft",
    hub_id="ys-zong/VLGuard",
    hub_file=lambda options: "train.json",
    terms="MIT; its page asks to agree to use it for research only, as it may show harm",
    files=("train.json", "*"),
)
