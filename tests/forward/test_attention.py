# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Split attention, and the trap of undoing an attention patch before the backward."""

from __future__ import annotations

import pytest
import torch

from forward.conftest import gradients, worst
from forward.tiny import FAMILIES, for_training, inner, make, pairs, picture
from resonance.forward import attention, host, masks
from resonance.forward.call import Forward
from resonance.forward.names import SPEEDUPS
from resonance.forward.result import sums

# Gemma3 has windows and picture blocks, which take a mask whatever the length
FAMILIES_WITHOUT_WINDOWS = [name for name in FAMILIES if name != "gemma3"]


def step(model, batch, on=SPEEDUPS, before_backward=lambda: None):
    tokens = Forward.call(model, model, Forward(on).prepare(batch, model, model))
    count = len(batch["input_ids"]) // 2
    (sums(tokens)[:count] - sums(tokens)[count:]).sum().backward(before_backward())
    return tokens.values, gradients(model)


@pytest.mark.parametrize("checkpointing", ["off", "reentrant", "non-reentrant"])
@pytest.mark.parametrize("family", FAMILIES_WITHOUT_WINDOWS)
def test_rows_by_pieces_need_no_mask(family, checkpointing, monkeypatch):
    model = for_training(make(FAMILIES[family]()), "lora", checkpointing)
    some = [[picture(model, 1)], [], [picture(model, 2)]] if family != "qwen2" else [[], [], []]
    batch = pairs(model, some)
    expected, expected_gradients = step(model, batch, ())
    monkeypatch.setattr(host.cost, "seconds", lambda way, *_: way != host.cost.SPLIT)
    monkeypatch.setattr(masks, "attention_masks", None)
    values, found = step(model, batch)
    assert inner(model).config.get_text_config()._attn_implementation == attention.NAME
    assert (values - expected).abs().max() < 1e-5 and worst(found, expected_gradients)[0] < 1e-5
    plain, plain_gradients = step(model, batch, ())  # the implementation stays; without segments it is SDPA
    assert torch.equal(plain, expected)
    assert all(torch.equal(plain_gradients[name], g) for name, g in expected_gradients.items())


def test_undone_before_the_backward_the_gradient_is_wrong(monkeypatch):
    """What would happen if the implementation were set for the forward alone: checkpointing computes it again."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora", "reentrant")
    batch = pairs(model, [[picture(model, 1)], []])
    expected, right = step(model, batch, ())
    monkeypatch.setattr(host.cost, "seconds", lambda way, *_: way != host.cost.SPLIT)

    def undo():
        model.config.get_text_config()._attn_implementation = "sdpa"

    values, wrong = step(model, batch, before_backward=undo)
    assert (values - expected).abs().max() < 1e-5
    assert worst(wrong, right)[0] > 0.01


def test_gemma3_keeps_its_masks(monkeypatch):
    monkeypatch.setattr(host.cost, "seconds", lambda way, *_: way != host.cost.SPLIT)
    model = for_training(make(FAMILIES["gemma3"]()), "lora")
    batch = pairs(model, [[picture(model, 1)]])
    assert (step(model, batch)[0] - step(model, batch, ())[0]).abs().max() < 1e-5
    assert inner(model).config.get_text_config()._attn_implementation == "sdpa"


def test_the_implementation_is_not_saved(tmp_path):
    model = make(FAMILIES["qwen2"]())
    attention.install(model)
    model.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
