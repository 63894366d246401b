# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Shared and packed rows under `sdpa` on CUDA in 16 bits: a call of torch's FlashAttention a layer, emulated here."""

from __future__ import annotations

import pytest
import torch
import transformers as tf

from forward.flash import instead_of_the_operator
from forward.test_groups import ragged
from forward.test_groups import step as grouped_step
from forward.test_varlen import LAYERS, PACKED, SHARED, batches, compare, lm_calls, step
from forward.tiny import _TEXT, FAMILIES, for_training, inner, make, pairs
from resonance.forward import attention, masks, segments, varlen
from resonance.forward.call import Forward, capabilities
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX, SPEEDUPS
from resonance.forward.request import Request

# Gemma3 sees pictures in both directions, which takes a mask
WITHOUT_TWO_WAY = [name for name in FAMILIES if name != "gemma3"]
BOTH = {SHARED_PREFIX, PADDING_FREE}


@pytest.fixture
def expected_then_operator(monkeypatch):
    """`run(expected)` computes what is expected with SDPA; after that the operator is there."""

    def run(make_expected):
        found = make_expected()
        return found, instead_of_the_operator(monkeypatch)

    return run


@pytest.mark.parametrize("checkpointing", ["off", "reentrant", "non-reentrant"])
@pytest.mark.parametrize("family", WITHOUT_TWO_WAY)
def test_pairs(family, checkpointing, expected_then_operator, monkeypatch):
    model = for_training(make(FAMILIES[family]()), "lora", checkpointing)
    given = batches(model, family)
    expected, flash = expected_then_operator(lambda: {name: step(model, batch, ()) for name, batch in given.items()})
    assert not {PADDING_FREE, SHARED_PREFIX} & set(capabilities(inner(model)))
    monkeypatch.setattr(masks, "attention_masks", None)
    for name, batch in given.items():
        for on in (PACKED, set(SPEEDUPS)):
            flash.calls.clear()
            compare(model, batch, expected[name], on=on)
            again = 2 if checkpointing != "off" else 1
            assert len(flash.calls) == again * LAYERS and flash.others == 0


@pytest.mark.parametrize("shape", ["5 answers", "8 answers", "unequal groups"])
def test_any_number_of_answers(shape, expected_then_operator):
    model = for_training(make(FAMILIES["qwen2_vl"]()), "full", "reentrant")
    batch = ragged(model, "qwen2_vl", shape, order=1)
    (_, expected, right), flash = expected_then_operator(lambda: grouped_step(model, batch, ()))
    prepared, found, gradient = grouped_step(model, batch, SPEEDUPS)
    assert (found.values - expected.values).abs().max() < 1e-5
    assert all((gradient[name] - g).norm() < 1e-5 * max(g.norm(), 1e-2) for name, g in right.items())
    counts = batch["attention_mask"].sum(1)
    queries, keys = lm_calls(flash)[0]
    assert len(queries) - 1 == len(counts) and queries[-1] == prepared.layout.inputs["input_ids"].numel()
    assert sorted(b - a for a, b in zip(keys, keys[1:], strict=False)) == sorted(counts.tolist())


@pytest.mark.parametrize("on", [PACKED, set(SPEEDUPS), SHARED], ids=["packed", "all", "mask"])
def test_windows_need_no_mask(on, expected_then_operator):
    """The responses are longer and shorter than the window; without `padding_free` rows take their mask."""
    model = for_training(make(tf.MistralConfig(**_TEXT, sliding_window=12, head_dim=8)), "full")
    batch = pairs(model, [[], []], [20, 3], [25, 14])
    expected, flash = expected_then_operator(lambda: step(model, batch, ()))
    assert set(capabilities(model)) == {"vision_once", "frozen_tower"}
    compare(model, batch, expected, on=on)
    assert bool(flash.calls) == (PADDING_FREE in on)


def test_it_takes_the_precision_of_autocast(expected_then_operator, monkeypatch):
    """Torch casts for the functions of its list, of which the operator is none."""
    model = make(FAMILIES["qwen2"]())
    batch = pairs(model, [[], []])

    def autocast(on):
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            return Forward.call(model, model, Forward(on, always=True).prepare(batch, model)).values

    expected, flash = expected_then_operator(lambda: autocast(()))
    seen, original = [], flash.varlen
    monkeypatch.setattr(flash, "varlen", lambda q, *rest: seen.append(q.dtype) or original(q, *rest))
    found = autocast(BOTH)
    assert seen == [torch.bfloat16] * LAYERS
    assert (found - expected).abs().max() < 0.1


def test_what_layers_turn_out_to_compute_with_decides(expected_then_operator, monkeypatch):
    """A batch is laid out before that is known; for another precision the same pieces are indexed again."""
    model = for_training(make(FAMILIES["qwen2"]()), "full")
    batch = pairs(model, [[], [], []])
    expected, flash = expected_then_operator(lambda: step(model, batch, ()))
    monkeypatch.setattr(attention, "kind_of", lambda model: segments.SPLIT)
    compare(model, batch, expected)
    assert flash.calls
    monkeypatch.setattr(attention, "kind_of", lambda model: segments.VARLEN)
    monkeypatch.setattr(varlen, "takes", lambda query: False)
    flash.calls.clear()
    compare(model, batch, expected)
    assert not flash.calls


def test_where_torch_has_it(monkeypatch):
    model = make(FAMILIES["qwen2"](), dtype=torch.bfloat16)
    assert attention.kind_of(model) == segments.SPLIT
    monkeypatch.setattr(varlen, "_has_kernel", lambda device: True)
    assert attention.kind_of(model) == segments.VARLEN
    assert Request.of([model], SPEEDUPS, False).device == "cuda half"
    exact = make(FAMILIES["qwen2"]())
    assert attention.kind_of(exact) == segments.SPLIT
    exact._original_forward = exact.forward  # as Accelerate's autocast leaves it
    assert attention.kind_of(exact) == segments.VARLEN
    narrow = FAMILIES["qwen2"]()
    narrow.head_dim = 12
    assert attention.kind_of(make(narrow, dtype=torch.bfloat16)) == segments.SPLIT
    assert attention.kind_of(make(FAMILIES["qwen2"](), "eager", torch.bfloat16)) == segments.MASKED


def test_rows_without_padding_are_not_gathered():
    whole = varlen.places([[0, 3, 5, 8], [8, 10, 14]], 14)
    assert "queries" not in whole and whole["keys"].tolist() == [*range(5), 0, 1, 2, 5, 6, 7, *range(8, 14)]
    assert whole["queries_ends"].tolist() == [0, 5, 8, 14] and whole["keys_ends"].tolist() == [0, 5, 11, 17]
    padded = varlen.places([[0, 3, 5], [8, 10, 14]], 16)
    assert padded["queries"].tolist() == [*range(5), *range(8, 14)]
    assert varlen.sequences(whole, [[0, 3, 5, 8], [8, 10, 14]]).longest == (6, 6)
