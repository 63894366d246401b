# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Shared and packed rows under FlashAttention: exact, in one call a layer. What runs here is its documentation."""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from forward.conftest import gradients, worst
from forward.flash import instead_of_flash_attention, with_flash
from forward.tiny import FAMILIES, for_training, inner, make, pairs, picture
from resonance.forward import masks, varlen
from resonance.forward.call import Forward, capabilities
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX, SPEEDUPS
from resonance.forward.result import sums

LAYERS = 3  # of every tiny language model
SHARED, PACKED, BOTH = set(SPEEDUPS) - {PADDING_FREE}, set(SPEEDUPS) - {SHARED_PREFIX}, set(SPEEDUPS)


@pytest.fixture(autouse=True)
def registered():
    """What Transformers has registered, again after the test."""
    before = dict(ALL_ATTENTION_FUNCTIONS._global_mapping)
    yield
    ALL_ATTENTION_FUNCTIONS._global_mapping.clear()
    ALL_ATTENTION_FUNCTIONS._global_mapping.update(before)


@pytest.fixture
def flash(monkeypatch):
    return instead_of_flash_attention(monkeypatch)


def step(model, batch, on=BOTH, answers=2):
    """Log-probabilities and gradients, with a weight of its own for each continuation."""
    tokens = Forward.call(model, model, Forward(on, always=True).prepare(batch, model, model))
    weights = torch.linspace(1.0, -1.0, answers)
    (sums(tokens).view(answers, -1) * weights[:, None]).sum().backward()
    return tokens.values, gradients(model)


def compare(model, batch, expected, **options):
    values, found = step(model, batch, **options)
    assert (values - expected[0]).abs().max() < 1e-5
    error, where = worst(found, expected[1])
    assert error < 1e-5, where


def batches(model, family):
    """One pair, three ragged pairs of which one has no picture, text only."""
    if family == "qwen2":
        return {"one": pairs(model, [[]]), "ragged": pairs(model, [[], [], []])}
    some = [[picture(model, 1)], [], [picture(model, 2), picture(model, 3)]]
    return {"one": pairs(model, some[:1]), "ragged": pairs(model, some), "text": pairs(model, [[], []])}


def prepared_for_flash(model, given):
    """Some towers count the tokens of the pictures in `given`, so the attention is changed after that."""
    with_flash(inner(model))
    return given


@pytest.mark.parametrize("checkpointing", ["off", "reentrant", "non-reentrant"])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2"])
def test_equal_to_the_plain_path_under_sdpa(family, checkpointing, flash, monkeypatch):
    model = for_training(make(FAMILIES[family]()), "lora", checkpointing)
    expected = {name: step(model, batch, ()) for name, batch in batches(model, family).items()}
    with_flash(inner(model))
    assert not {SHARED_PREFIX, PADDING_FREE} & set(capabilities(inner(model)))
    monkeypatch.setattr(masks, "attention_masks", None)
    for name, batch in batches(model, family).items():
        for on in (SHARED, PACKED, BOTH, ()):
            compare(model, batch, expected[name], on=on)


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_the_plain_path_under_flash_attention(family, mode, flash):
    """LlamaFactory's own trainer on the same attention. Gemma3: windows, and pictures seen in one direction."""
    model = for_training(make(FAMILIES[family]()), mode)
    for batch in prepared_for_flash(model, batches(model, family)).values():
        expected = step(model, batch, ())
        compare(model, batch, expected)
        compare(model, batch, expected, on=SHARED)


@pytest.mark.parametrize("family", FAMILIES)
def test_llamafactory_trainer_on_flash_attention(family, flash, llamafactory):
    model = for_training(make(FAMILIES[family]()), "lora")
    batch = prepared_for_flash(model, batches(model, family))["ragged"]
    values, found = step(model, batch)  # first: Transformers 5.6.0 needs what this registers
    theirs = llamafactory(model, batch)
    count = len(theirs.sums) // 2
    (theirs.sums[:count] - theirs.sums[count:]).sum().backward()
    assert (values - theirs.tokens).abs().max() < 1e-5
    assert worst(found, gradients(model))[0] < 1e-5


@pytest.mark.parametrize("on", [SHARED, BOTH], ids=["shared", "packed"])
def test_three_continuations(on, flash):
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora", "reentrant")
    given = [[picture(model, 1)], [picture(model, 2)]]
    two, third = (pairs(model, given, seed=0), pairs(model, given, [9, 4], [5, 13], seed=0))
    batch = joined(model, two, third, len(given))
    expected = step(model, batch, (), 3)
    with_flash(inner(model))
    compare(model, batch, expected, on=on, answers=3)
    assert flash.calls and all(len(queries) == 1 + 3 * len(given) for queries, _ in lm_calls(flash))


def joined(model, two, third, prompts):
    """Three responses a prompt: both of a batch of pairs, and the rejected ones of another over the same prompts."""
    size = max(two["input_ids"].shape[1], third["input_ids"].shape[1])

    def wide(batch, name, value):
        return torch.nn.functional.pad(batch[name], (0, size - batch[name].shape[-1]), value=value)

    batch = {}
    for name, value in (("input_ids", 2), ("attention_mask", 0), ("labels", -100), ("position_ids", 1)):
        parts = wide(two, name, value), wide(third, name, value)
        batch[name] = torch.cat((parts[0], parts[1][..., prompts:, :]), -2)
    for name in ("pixel_values", "image_grid_thw"):
        batch[name] = torch.cat((two[name], two[name][len(two[name]) // 2 :]))
    return batch


def lm_calls(flash):
    """Calls of the language model: in a tower, queries and keys are the same."""
    return [(queries, keys) for queries, keys in flash.calls if queries != keys]


@pytest.mark.parametrize("on", [SHARED, BOTH], ids=["shared", "packed"])
def test_one_call_a_layer(on, flash):
    model = with_flash(make(FAMILIES["qwen2_vl"]()))
    batch = pairs(model, [[picture(model, 1)], [], [picture(model, 2)]])
    prepared = Forward(on, always=True).prepare(batch, model, model)
    assert len(prepared.layout.inputs["input_ids"]) == (1 if PADDING_FREE in on else 3)
    with torch.no_grad():
        Forward.call(model, model, prepared)
    first = (batch["labels"] != -100).int().argmax(1).tolist()
    ends = batch["attention_mask"].sum(1).tolist()
    lengths = [n for i in range(3) for n in (ends[i], ends[i + 3] - first[i + 3])]
    key_lengths = [n for i in range(3) for n in (ends[i], ends[i + 3])]
    expected = [torch.tensor([0, *some]).cumsum(0).tolist() for some in (lengths, key_lengths)]
    assert lm_calls(flash) == [tuple(expected)] * LAYERS
    assert flash.others == 0


def test_packed_rows_of_their_own_prompts_are_one_sequence_each(flash):
    model = with_flash(make(FAMILIES["qwen2"]()))
    batch = pairs(model, [[], [], []])
    with torch.no_grad():
        Forward.call(model, model, Forward(PACKED, always=True).prepare(batch, model, model))
    ends = [0, *batch["attention_mask"].sum(1).cumsum(0).tolist()]
    assert flash.calls == [(ends, ends)] * LAYERS and flash.others == 0


@pytest.mark.parametrize("on", [SHARED, BOTH], ids=["shared", "packed"])
def test_padding_and_pictures_that_nobody_attends_to_are_left_out(on, flash):
    model = with_flash(make(FAMILIES["qwen2_vl"]()))
    batch = pairs(model, [[], []])
    assert bool(((batch["input_ids"] == 10) & (batch["attention_mask"] == 0)).any())
    rows = Forward(on, always=True).prepare(batch, model, model).layout
    found = rows.segments.pieces.sequences
    inside = torch.zeros(rows.inputs["input_ids"].numel(), dtype=torch.bool)
    inside[found.queries] = True
    assert not bool((rows.inputs["input_ids"].flatten()[inside] == 10).any())
    assert set(found.keys.tolist()) == set(found.queries.tolist())
    assert len(found.queries) == len(set(found.queries.tolist())) == int((rows.segments.segment >= 0).sum())


def test_other_calls_are_transformers_own_bit_for_bit(flash):
    """And towers take no sequences, even if a model hands all its arguments on to them."""
    model = with_flash(make(FAMILIES["qwen2_vl"]()))
    plain = ALL_ATTENTION_FUNCTIONS["flash_attention_2"]
    varlen.install(model)
    ours = ALL_ATTENTION_FUNCTIONS["flash_attention_2"]
    varlen.install(model)
    assert ALL_ATTENTION_FUNCTIONS["flash_attention_2"] is ours and ours.plain is plain
    module = model.model.language_model.layers[0].self_attn
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(2, heads, 6, 8, generator=generator) for heads in (4, 2, 2)]
    sinks = varlen._NoSinks()
    for mask in (None, torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=torch.bool)):
        assert torch.equal(ours(module, *states, mask)[0], plain(module, *states, mask, s_aux=sinks)[0])
    tower = model.model.visual.blocks[0].attn
    some = varlen.Sequences(*[torch.arange(1)] * 4, (1, 1))
    found = ours(tower, *states, None, **{varlen.SEQUENCES: some})[0]
    assert torch.equal(found, plain(tower, *states, None, s_aux=sinks)[0])
    assert flash.others == 6 - 2  # two of the six calls had a mask


def test_the_function_stays_for_the_recompute(flash):
    """Undone before the backward, gradient checkpointing would compute other attention than the forward did."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora", "reentrant")
    with_flash(inner(model))
    batch = pairs(model, [[picture(model, 1)], []])
    tokens = Forward.call(model, model, Forward(BOTH, always=True).prepare(batch, model, model))
    forward = len(lm_calls(flash))
    sums(tokens).sum().backward()
    assert forward == LAYERS and len(lm_calls(flash)) == 2 * LAYERS
    assert isinstance(ALL_ATTENTION_FUNCTIONS["flash_attention_2"], varlen.VarlenAttention)


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "an-owner/a-kernel"])
def test_whatever_flash_attention_transformers_has_chosen(name, flash):
    if "/" in name:  # as Transformers registers a kernel that it has loaded
        ALL_ATTENTION_FUNCTIONS.register(name, ALL_ATTENTION_FUNCTIONS["flash_attention_2"])
    model = for_training(make(FAMILIES["qwen2"]()), "lora")
    with_flash(inner(model), name)
    assert SHARED_PREFIX not in capabilities(inner(model))
    batch = pairs(model, [[], []])
    compare(model, batch, step(model, batch, ()))
    assert len(lm_calls(flash)) == LAYERS


def test_windows_count_the_distances_of_the_plain_rows(flash):
    """Without pictures, which Gemma3 sees in both directions under SDPA alone."""
    config = FAMILIES["gemma3"]()
    assert config.text_config.sliding_window == 12
    model = for_training(make(config), "lora")
    batch = pairs(model, [[], []], [20, 3], [25, 14])  # responses longer and shorter than the window
    expected = step(model, batch, ())
    with_flash(inner(model))
    for on in (SHARED, PACKED, BOTH, ()):
        compare(model, batch, expected, on=on)


@pytest.mark.skipif(transformers.__version__ != "5.6.0", reason="the fault is in Transformers 5.6.0 alone")
def test_transformers_fails_on_its_own(flash):
    """Why `varlen.install` is needed with nothing on as well; if this fails, `_NoSinks` can go."""
    model = with_flash(make(FAMILIES["qwen2"]()))
    batch = pairs(model, [[]])
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'to'"):
        model(input_ids=batch["input_ids"])
    Forward.call(model, model, Forward(()).prepare(batch, model))


def test_a_triangle_from_the_top_left_is_refused(flash, monkeypatch):
    model = with_flash(make(FAMILIES["qwen2"]()))
    monkeypatch.setattr(varlen, "flash_attn_supports_top_left_mask", lambda: True)
    assert "flash_attention_2" in capabilities(model)[SHARED_PREFIX]
