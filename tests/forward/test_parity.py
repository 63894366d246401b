# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The speed-ups give LlamaFactory's log-probabilities and gradients, for every family, way of training and batch."""

from __future__ import annotations

import pytest
import torch

from forward.conftest import gradients, worst
from forward.tiny import FAMILIES, for_training, make, pairs, picture
from resonance.forward.call import Forward, capabilities
from resonance.forward.names import FROZEN_TOWER, PADDING_FREE, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from resonance.forward.result import sums

MODES = ("lora", "full", "frozen", "trainable")


def batches(model, family):
    def some(*seeds):
        return [picture(model, seed) for seed in seeds] if family != "qwen2" else []

    prompts = {
        "one": [some(1)],
        "ragged": [some(0), some(1), some(2)],
        "several pictures": [some(0, 1, 2), some(3)],
        "text among pictures": [some(1), [], some(2)],
        "text only": [[], []],
    }
    if family == "qwen2_vl":
        prompts["videos"] = [[picture(model, 1, video=True)], [picture(model, 2, video=True), picture(model, 3)]]
    return {name: pairs(model, given) for name, given in prompts.items()}


def shares(rows):
    return rows.segments is not None and rows.sources is None and len(rows.targets) > len(set(rows.positions.tolist()))


def compare(model, batch, llamafactory, on=SPEEDUPS):
    """Ours against theirs: (largest difference a token, of a sum relative to it, worst gradient and its name)."""
    prompts = len(batch["input_ids"]) // 2
    sign = torch.tensor([1.0] * prompts + [-1.0] * prompts)
    theirs = llamafactory(model, batch)
    (theirs.sums * sign).sum().backward()
    expected = gradients(model)
    forward = Forward(on, always=True)
    prepared = forward.prepare(batch, model, model)
    assert set(prepared.reasons) <= set(capabilities(model, model)), prepared.reasons
    assert shares(prepared.layout) == (SHARED_PREFIX in on)
    packs = PADDING_FREE in on and PADDING_FREE not in prepared.reasons
    assert (len(prepared.layout.inputs["input_ids"]) == 1) == (packs or prompts == 1 and SHARED_PREFIX in on)
    tokens = Forward.call(model, model, prepared)
    (sums(tokens) * sign).sum().backward()
    found = gradients(model)
    apart = (sums(tokens) / theirs.sums - 1).abs().max()
    return float((tokens.values - theirs.tokens).abs().max()), float(apart), worst(found, expected)


def check(model, family, llamafactory, on=SPEEDUPS):
    wrong = []
    for name, batch in batches(model, family).items():
        token, apart, gradient = compare(model, batch, llamafactory, on)
        if not (token < 1e-5 and apart < 1e-6 and gradient[0] < 1e-5):
            wrong.append((name, token, apart, gradient))
    assert wrong == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_all_speedups(family, mode, llamafactory):
    if family == "qwen2" and mode == "trainable":
        pytest.skip("a text model has no tower to train")
    check(for_training(make(FAMILIES[family]()), mode, "reentrant"), family, llamafactory)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["off", "non-reentrant"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_all_speedups_with_other_checkpointing(family, mode, checkpointing, llamafactory):
    if family == "qwen2" and mode == "trainable":
        pytest.skip("a text model has no tower to train")
    check(for_training(make(FAMILIES[family]()), mode, checkpointing), family, llamafactory)


ALONE = [{name} for name in SPEEDUPS]


@pytest.mark.parametrize(
    "on", [*ALONE, set(SPEEDUPS) - {PADDING_FREE}, set(SPEEDUPS) - {SHARED_PREFIX}, set()], ids=sorted
)
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl", "llava_next", "gemma3"])
def test_each_speedup_alone(family, on, llamafactory):
    check(for_training(make(FAMILIES[family]()), "full", "reentrant"), family, llamafactory, on)


@pytest.mark.parametrize("checkpointing", ["off", "non-reentrant"])
def test_checkpointing(checkpointing, llamafactory):
    check(for_training(make(FAMILIES["qwen2_vl"]()), "lora", checkpointing), "qwen2_vl", llamafactory)


@pytest.mark.parametrize("family", ["qwen2_vl", "gemma3", "qwen2"])
def test_eager_attention(family, llamafactory):
    check(for_training(make(FAMILIES[family](), attention="eager"), "lora"), family, llamafactory)


def test_nothing_on_is_the_plain_path_bit_for_bit(llamafactory):
    model = for_training(make(FAMILIES["qwen2_vl"]()), "full")
    for batch in batches(model, "qwen2_vl").values():
        ours = Forward.call(model, model, Forward(()).prepare(batch, model, model))
        theirs = llamafactory(model, batch)
        assert torch.equal(ours.values, theirs.tokens) and torch.equal(sums(ours), theirs.sums)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_use_all_of_them(family):
    model = make(FAMILIES[family]())
    expected = {FROZEN_TOWER: "no vision tower", VISION_ONCE: "no vision tower"} if family == "qwen2" else {}
    if family == "gemma3":
        expected = {PADDING_FREE: "sliding windows take a mask, which is as large as all rows together"}
    assert capabilities(model, model) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_is_as_close_to_float32_as_llamafactory_is(family, llamafactory):
    """Both round differently; over several batches our error is no more than 1.2 times theirs."""
    exact, half = (for_training(make(FAMILIES[family](), dtype=d), "full") for d in (torch.float32, torch.bfloat16))
    half.load_state_dict(exact.state_dict())
    exact.load_state_dict(half.state_dict())  # the same numbers, those that bfloat16 can hold
    ours, theirs = [], []
    for seed in range(6):
        given = [[picture(exact, seed), picture(exact, seed + 1)] if family != "qwen2" else [] for _ in range(3)]
        batch = pairs(exact, given, seed=seed)
        with torch.no_grad():
            truth = llamafactory(exact, batch).tokens
            theirs.append(llamafactory(half, batch).tokens - truth)
            ours.append(Forward.call(half, half, Forward(SPEEDUPS).prepare(batch, half, half)).values - truth)
    error, allowed = (torch.cat([e.flatten() for e in errors]).norm() for errors in (ours, theirs))
    assert 0 < error < 1.2 * allowed
