# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LLaVA-RLHF's human preferences, arXiv 2309.14525: which of two answers has fewer faults.

A row of ``llava_7b_v1_preference.json`` is ``{id, image, conversations, output_1, output_2, hallucination,
preference}``: the conversation ends with a reference answer, which is left out, `preference` is 1 or 2, the image the
name of one of COCO, as public loaders of LLaVA-Human-Preference-10K read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import labels, preferred, text, value
from .dialogue import read_dialogue
from .spec import Either, Example, Importer, Misshaped, Options


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair."""
    answers = [_answer(row, "output_1"), _answer(row, "output_2")]
    turns = read_dialogue(value(row, "conversations"), "conversations").turns
    turns = turns[:-1] if turns and turns[-1][0] == "assistant" else turns
    chosen, rejected = answers if preferred(row, "preference") == 1 else reversed(answers)
    name = text(row, "image")
    images = [Either((name, f"COCO_train2014_{name}", f"train2017/{name}", f"train2014/COCO_train2014_{name}"))]
    yield Example(turns, chosen, rejected, images, extra=labels(row, "id", "hallucination"))


def _answer(row: dict[str, Any], name: str) -> str:
    """The text of a message, whoever it is from."""
    answer = value(row, name)
    if not isinstance(answer, dict):
        raise Misshaped(f"{name} is not a message", repr(answer)[:60])
    return text(answer, "value")


IMPORTER = Importer(
    name="llava_rlhf",
    summary="9,422 pairs of LLaVA's answers in conversations, compared by people; --image-root: COCO's train images",
    convert=convert,
    hub_id="zhiqings/LLaVA-Human-Preference-10K",
    files=("llava_7b_v1_preference.json", "*"),
)
