# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The estimate's FLOPs against torch's counter on LlamaFactory's real step."""

from __future__ import annotations

import copy

import pytest

from checks.test_estimate_flops import SETUP, counted, llamafactory_step, off_by
from idefics.models import KINDS, make_model, make_processor, picture
from idefics.pairs import Pair, collator, feature
from resonance.checks.estimate.shapes import LLAMAFACTORY, Workload

LARGE = picture(56, 56)  # of Idefics2's size, so that its tiles are full


@pytest.mark.parametrize("kind", KINDS)
def test_step_of_llamafactory(kind: str) -> None:
    processor = make_processor(kind, do_image_splitting=kind != "idefics2")
    model = make_model(kind, processor).train()
    reference = copy.deepcopy(model).requires_grad_(False).eval()
    model.model.vision_model.requires_grad_(False)
    model.model.connector.requires_grad_(False)
    answer = "A zero, I think, which is a digit."
    row = feature(kind, processor, Pair("<image>What is this?", answer, answer, [LARGE]))
    batch = collator(kind, processor)([row])
    response = int((batch["labels"][0] != -100).sum())
    visual = int((batch["input_ids"][0] == processor.image_token_id).sum())
    lengths = Workload(len(row["chosen_input_ids"]) - response - visual, 1, visual, response)
    setup = SETUP.__class__(**{**vars(SETUP), "checkpointing": False})
    measured = counted(llamafactory_step, model, reference, batch)
    assert abs(off_by(model, setup, lengths, LLAMAFACTORY, measured)) < 0.1
