# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which batches share their prompts, and what the plain layout is used for."""

from __future__ import annotations

import pytest
import torch

from forward.conftest import lay_out
from forward.tiny import FAMILIES, PICTURE, for_training, make, pairs, picture
from resonance.forward.arrange import OUTSIDE
from resonance.forward.call import Forward, capabilities
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from resonance.forward.result import TokenLogps, length_desensitized_sums, sums

SHARED = {SHARED_PREFIX, VISION_ONCE}


@pytest.fixture(scope="module")
def model():
    return for_training(make(FAMILIES["qwen2_vl"]()), "full")


@pytest.fixture
def batch(model):
    return pairs(model, [[picture(model, 0)], [picture(model, 1)]], chosen=[6, 9], rejected=[8, 5])


def test_positions_segments_and_pictures(batch, model):
    rows = lay_out(batch, SHARED, [PICTURE]).layout
    prompt = int((batch["labels"][0] != -100).int().argmax())
    ids = rows.inputs["input_ids"][0]
    assert torch.equal(ids[:prompt], batch["input_ids"][0, :prompt])
    assert torch.equal(ids[prompt : prompt + 6], batch["input_ids"][0, prompt : prompt + 6])
    assert torch.equal(ids[prompt + 6 : prompt + 14], batch["input_ids"][2, prompt : prompt + 8])
    # the rejected response keeps the positions of its own row, in all four rows of M-RoPE
    assert torch.equal(
        rows.inputs["position_ids"][:, 0, prompt + 6 : prompt + 14], batch["position_ids"][:, 2, prompt : prompt + 8]
    )
    assert rows.segments.segment[0].tolist()[: prompt + 15] == [0] * prompt + [1] * 6 + [2] * 8 + [-1]
    assert len(rows.inputs["pixel_values"]) * 2 == len(batch["pixel_values"])
    # the token before each target predicts it; the last of the prompt predicts the first of both responses
    predicting = [*range(prompt - 1, prompt + 5), prompt - 1, *range(prompt + 6, prompt + 13)]
    assert rows.positions[:14].tolist() == predicting
    assert rows.targets[:6].tolist() == batch["input_ids"][0, prompt : prompt + 6].tolist()


def test_positions_where_the_batch_has_none():
    """Prompts of 3 tokens: both responses begin at position 3, each where it stood in its own row."""
    batch = pairs(make(FAMILIES["qwen2"]()), [[]], chosen=[4], rejected=[2])
    assert "position_ids" not in batch
    rows = lay_out(batch, {SHARED_PREFIX}).layout
    assert rows.inputs["position_ids"][0, :9].tolist() == [0, 1, 2, 3, 4, 5, 6, 3, 4]


def refused(batch, match, pictures=(PICTURE,)):
    found = lay_out(batch, SHARED, pictures)
    assert match in found.reasons[SHARED_PREFIX] and found.layout.segments is None


def shared_alone(batch, model, *counts):
    """How many responses are read with each prompt, in the order of their first rows; and that all are exact."""
    found = lay_out(batch, SHARED, [PICTURE], model_type="qwen2_vl")
    assert found.reasons == {}
    answers = [int(segment.max()) for segment in found.layout.segments.segment]
    assert answers == list(counts)
    expected = Forward.call(model, model, Forward(()).prepare(batch, model)).values
    prepared = Forward(SPEEDUPS, always=True).prepare(batch, model, model)
    assert (Forward.call(model, model, prepared).values - expected).abs().max() < 1e-5


def test_other_prompt(batch, model):
    batch["input_ids"][2, 1] = 77
    shared_alone(batch, model, 1, 2, 1)
    batch["input_ids"][3, 1] = 77
    refused(batch, "different prompts")


def test_picture_token_in_a_response(batch):
    """More picture tokens than pictures: the model itself would fail."""
    first = int((batch["labels"][0] != -100).int().argmax())
    batch["input_ids"][0, first + 1] = batch["labels"][0, first + 1] = PICTURE
    refused(batch, "which row shows which pictures")


def test_other_pixels(batch, model):
    batch["pixel_values"][-1, -1] += 1.0
    shared_alone(batch, model, 2, 1, 1)
    batch["pixel_values"][0, 0] += 1.0
    refused(batch, "different prompts")


def test_labels_in_front_of_the_prompt(batch):
    for name in ("input_ids", "attention_mask", "labels"):
        batch[name] = batch[name].flip(1)
    refused(batch, "a response follows a token that nobody attends to")


@pytest.mark.parametrize("on", [(), SPEEDUPS], ids=["plain", "fast"])
def test_a_model_that_writes_into_its_tokens_leaves_them_to_the_next(model, batch, on):
    """Some replace the tokens of pictures in place; the policy reads the batch after the reference."""
    prepared = Forward(on).prepare(batch, model, model)

    def writing(**inputs):
        output = model(**inputs)
        inputs["input_ids"].zero_()
        return output

    first, second = (Forward.call(writing, model, prepared).values for _ in range(2))
    assert torch.equal(first, second) and bool((batch["input_ids"] > 0).any())


@pytest.mark.parametrize(
    ("row", "match"),
    [(0, "which row shows which pictures"), (2, "which row shows which pictures")],
    ids=["chosen", "rejected"],
)
def test_picture_token_in_the_padding_beside_pictures(batch, row, match):
    """LlamaFactory appends an unattended picture only where there is none."""
    assert batch["attention_mask"][row, -1] == 0
    batch["input_ids"][row, -1] = PICTURE
    refused(batch, match)


def test_pictures_without_a_known_token(batch):
    refused(batch, "which row shows which pictures", ())


def test_rows_are_not_filled_with_pictures(batch):
    """The model counts picture tokens, also in padding; LLaVA's prompts may begin with one."""
    last = int((batch["input_ids"][0] == PICTURE).nonzero()[-1])
    batch["input_ids"][[0, 2], 0], batch["input_ids"][[0, 2], last] = PICTURE, 30
    rows = lay_out(batch, SHARED, [PICTURE]).layout
    assert bool((rows.segments.segment == OUTSIDE).any())
    assert int((rows.inputs["input_ids"] == PICTURE).sum()) * 2 == int((batch["input_ids"] == PICTURE).sum())


def test_no_response(batch, model):
    """All of the row is its prompt, which is another one than that of the row beside it."""
    batch["labels"][1] = -100
    shared_alone(batch, model, 2, 0, 1)


def test_a_label_missing_in_the_middle(batch, model):
    first = int((batch["labels"][0] != -100).int().argmax())
    batch["labels"][0, first + 2] = -100
    shared_alone(batch, model, 2, 2)


def test_unknown_input(batch):
    batch["cross_attention_mask"] = torch.ones(4, 2)
    refused(batch, "the batch has cross_attention_mask")


def test_refused_batches_take_the_plain_layout_and_stay_exact(model, batch, llamafactory):
    # the trap: [prompt of the chosen | rejected] would give other log-probabilities
    batch["input_ids"][2:, 1] = 77
    theirs = llamafactory(model, batch).tokens
    for on, packed in ((SPEEDUPS, True), (set(SPEEDUPS) - {PADDING_FREE}, False)):
        prepared = Forward(on, always=True).prepare(batch, model, model)
        assert prepared.reasons == {SHARED_PREFIX: "the responses answer different prompts"}
        assert (len(prepared.layout.inputs["input_ids"]) == 1) == packed
        assert (Forward.call(model, model, prepared).values - theirs).abs().max() < 1e-5


def test_dropout_and_layers_with_state_are_not_shared():
    config = FAMILIES["qwen2"]()
    config.attention_dropout = 0.1
    assert "dropout is on" in capabilities(make(config))[SHARED_PREFIX]
    assert "dropout is on" in capabilities(make(config))[VISION_ONCE]
    config = FAMILIES["qwen2"]()
    model = make(config)
    model.config.layer_types = ["linear_attention", "full_attention", "full_attention"]
    assert capabilities(model)[SHARED_PREFIX] == "layers of type linear_attention"
    model.config.layer_types = None
    model.config.output_router_logits = True
    assert "auxiliary loss of the experts" in capabilities(model)[SHARED_PREFIX]
    model.config.output_router_logits = False
    model.config._attn_implementation = "flex_attention"
    assert "flex_attention" in capabilities(model)[SHARED_PREFIX]


def test_sums_are_llamafactorys(batch):
    from llamafactory.train.trainer_utils import get_batch_logps

    logits = torch.randn(*batch["labels"].shape, 256, generator=torch.Generator().manual_seed(0))
    labels = batch["labels"][:, 1:]
    values = logits[:, :-1].log_softmax(-1).gather(2, labels.clamp(min=0)[..., None]).squeeze(2)
    tokens = TokenLogps({"logp": values * (labels != -100)}, labels != -100)
    expected, lengths = get_batch_logps(logits, batch["labels"])
    assert torch.equal(sums(tokens), expected) and torch.equal(tokens.lengths, lengths)
    for alpha in (0.0, 0.5, 1.0):
        desensitized, _ = get_batch_logps(logits, batch["labels"], ld_alpha=alpha)
        assert torch.equal(length_desensitized_sums(tokens, alpha, 2), desensitized)
