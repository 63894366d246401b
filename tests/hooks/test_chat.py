# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's chat of a Qwen2-VL model, with positions of images and without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    command = [sys.executable, str(ROOT / "scripts" / "make_tiny_model.py"), str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.mark.parametrize("wanted", [True, False])
def test_chat_answers_with_the_log_probabilities_of_training_if_asked_for(folder, wanted):
    """The first logits of an answer to a picture of 4 x 4 tokens, beside those of a call with positions in 3D."""
    from llamafactory.chat import ChatModel

    keys = {"model_name_or_path": str(folder), "template": "qwen2_vl", "infer_dtype": "float32"}
    model = ChatModel(keys | ({"chat_image_positions": True} if wanted else {})).engine.model
    picture = Image.frombytes("RGB", (112, 112), bytes(i % 251 for i in range(3 * 112 * 112)))
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    text = "<|vision_start|><|image_pad|><|vision_end|>What digit is this?" * 2
    given = processor(text=[text], images=[picture, picture], return_tensors="pt")
    kinds = (given["input_ids"] == model.config.image_token_id).int()
    given.pop("mm_token_type_ids", None)
    ids = given.pop("input_ids")
    options = dict(max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True)
    right = type(model).generate(model, ids, **given, mm_token_type_ids=kinds, **options).logits[0]
    found = model.generate(inputs=ids, **given, **options).logits[0]
    assert torch.equal(found, right) == wanted
    texts = model.generate(inputs=ids[:, -4:], attention_mask=torch.ones(1, 4).long(), **options).logits[0]
    assert texts.shape == right.shape, "without pictures nothing is added"


def test_training_does_not_read_it():
    from resonance.arguments.policy_recipe import stage_problems

    (problem,) = stage_problems({"stage": "sft", "chat_image_positions": True})
    assert "llamafactory-cli chat" in problem
    assert stage_problems({"stage": "sft", "chat_image_positions": False}) == []
