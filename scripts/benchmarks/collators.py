# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""JPEG pairs through LlamaFactory's collator and ours, with Qwen2-VL's own processor: no model, no network."""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_image_tokens import FAMILIES, make_processor, write_picture

FAMILY = "qwen2_vl"
SIZES = ((640, 480), (1024, 768))
PAIRS, BATCH, RESPONSE = 50, 2, 64


@dataclass
class DataRow:
    """Pairs with one JPEG of `size` each: process time a pair, in the training process. `equal`: the same tensors."""

    variant: str
    size: tuple[int, int]
    pairs: int
    ms_a_pair: float
    equal: bool


def make_rows(folder: Path, pairs: int, size: tuple[int, int], response: int = RESPONSE) -> list[dict[str, Any]]:
    """Rows as tokenization leaves them: a picture of its own, a question, two answers of bytes."""
    from llamafactory.data.template import TEMPLATES

    processor = make_processor(FAMILY)
    plugin, tokenizer = TEMPLATES[FAMILIES[FAMILY].template].mm_plugin, processor.tokenizer
    rows = []
    for i in range(pairs):
        path = folder / f"{size[0]}-{i}.jpg"
        write_picture(path, size, i)
        question = [{"role": "user", "content": "<image>What is to be seen here, and where?"}]
        prompt = tokenizer(
            plugin.process_messages(question, [str(path)], [], [], processor)[0]["content"], add_special_tokens=False
        )["input_ids"]
        row: dict[str, Any] = {"images": [str(path)], "videos": None, "audios": None}
        for side, letter in (("chosen", "a"), ("rejected", "b")):
            answer = tokenizer(letter * response, add_special_tokens=False)["input_ids"]
            row[f"{side}_input_ids"] = prompt + answer
            row[f"{side}_attention_mask"] = [1] * len(prompt + answer)
            row[f"{side}_labels"] = [-100] * len(prompt) + answer
        rows.append(row)
    return rows


def make_collators(model: Any = None) -> dict[str, Any]:
    """LlamaFactory's collator and ours. `model` gives M-RoPE positions; without one there are none."""
    from llamafactory.data.collator import PairwiseDataCollatorWithPadding
    from llamafactory.data.template import TEMPLATES

    from resonance.rows.collate import PreferenceCollator

    processor = make_processor(FAMILY)
    settings = dict(template=TEMPLATES[FAMILIES[FAMILY].template], tokenizer=processor.tokenizer, processor=processor)
    settings |= dict(pad_to_multiple_of=8, label_pad_token_id=-100, model=model)
    classes = {"llamafactory": PairwiseDataCollatorWithPadding, "resonance": PreferenceCollator}
    return {name: make(**settings) for name, make in classes.items()}


def compare(pairs: int = PAIRS) -> tuple[list[DataRow], list[str]]:
    """Time both on the same rows, in turn; the rows of the result, and which of ours are not LlamaFactory's batch."""
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch

    torch.set_num_threads(1)
    found = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            rows = make_rows(Path(folder), pairs, size)
            took, equal = dict.fromkeys(("llamafactory", "resonance"), 0.0), True
            collators = make_collators()
            for collate in collators.values():  # what is imported and built at the first call
                collate(copy.deepcopy(rows[:1]))
            for start in range(0, pairs, BATCH):
                batches = []
                for name, collate in collators.items():
                    part = copy.deepcopy(rows[start : start + BATCH])
                    began = time.process_time()
                    batches.append(collate(part))
                    took[name] += time.process_time() - began
                theirs, ours = batches
                equal &= set(theirs) == set(ours) and all(torch.equal(ours[name], theirs[name]) for name in theirs)
        for name, seconds in took.items():
            found.append(DataRow(name, size, pairs, 1000 * seconds / pairs, equal))
        before, after = found[-2:]
        print(
            f"{size[0]} x {size[1]} JPEG: {before.ms_a_pair:.1f} -> {after.ms_a_pair:.1f} ms a pair "
            f"({before.ms_a_pair / after.ms_a_pair:.2f}x), the same batches: {'yes' if equal else 'NO'}"
        )
    return found, [f"{row.variant} {row.size}" for row in found if not row.equal]
