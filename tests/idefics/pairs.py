# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs as they come out of tokenization, and batches of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from llamafactory.data.template import TEMPLATES

from idefics.models import TEMPLATE, picture
from resonance.rows.collate import PreferenceCollator


class Pair(NamedTuple):
    prompt: str
    chosen: str
    rejected: str
    images: list[Any]


PAIRS = [
    Pair("<image>What is this?", "A zero, I think.", "One.", [picture(300, 200, 3)]),
    Pair("Compare <image> and <image>.", "They do not differ.", "A cat, and a cat again.", [picture(25, 150, 2)] * 2),
    Pair("And then?", "Hello.", "No.", []),
    Pair("<image>\nWhat digit is in the image?", "7", "It is a 3.", [picture(112, 30, 1)]),
]
APART = Pair("<image>x<image>", "No, they are two.", "Yes.", [picture(112, 30, 1), picture(9, 9)])


def feature(kind: str, processor: Any, pair: Pair) -> dict[str, Any]:
    """A tokenized row."""
    template, found = TEMPLATES[TEMPLATE[kind]], {"images": pair.images, "videos": None, "audios": None}
    for side in ("chosen", "rejected"):
        messages = [{"role": "user", "content": pair.prompt}, {"role": "assistant", "content": getattr(pair, side)}]
        messages = template.mm_plugin.process_messages(messages, pair.images, [], [], processor)
        prompt, answer = template.encode_oneturn(processor.tokenizer, messages)
        found |= {f"{side}_input_ids": prompt + answer, f"{side}_attention_mask": [1] * len(prompt + answer)}
        found[f"{side}_labels"] = [-100] * len(prompt) + answer
    return found


def collator(kind: str, processor: Any) -> PreferenceCollator:
    return PreferenceCollator(
        template=TEMPLATES[TEMPLATE[kind]],
        tokenizer=processor.tokenizer,
        processor=processor,
        pad_to_multiple_of=8,
        label_pad_token_id=-100,
    )
