# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What disagrees with the plain path is switched off, and only that."""

from __future__ import annotations

import pytest
import torch

from forward.tiny import FAMILIES, for_training, make, pairs, picture
from resonance.forward import attention, masks, pieces
from resonance.forward import selftest as selftest_module
from resonance.forward.call import Forward
from resonance.forward.names import PADDING_FREE, RESPONSE_HEAD, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from resonance.forward.result import sums
from resonance.forward.selftest import SelfTest


@pytest.fixture
def model():
    return for_training(make(FAMILIES["qwen2_vl"]()), "full", "reentrant")


def selftest(model, gradients=True, half=False, batch=None):
    batch = batch or pairs(model, [[picture(model, 1)], [picture(model, 2)]])
    forward = Forward(SPEEDUPS, always=True)

    def run(on):
        prepared = forward.prepare(batch, model, model, on)
        with torch.no_grad():
            reference = sums(Forward.call(model, model, prepared))
        return Forward.call(model, model, prepared), reference

    parameters = [p for p in model.parameters() if p.requires_grad] if gradients else []
    return SelfTest(run, parameters, half, torch.device("cpu"))


def test_all_agree(model):
    verdict = selftest(model).choose(SPEEDUPS)
    assert verdict.on == set(SPEEDUPS) and not verdict.failed
    assert verdict.logps < 1e-5 and verdict.gradient < 1e-5
    assert all(p.grad is None for p in model.parameters())


def test_a_wrong_mask_costs_the_shared_prefix_alone(model, monkeypatch):
    """The rejected response sees the chosen one."""
    leaky = masks._visible
    monkeypatch.setattr(masks, "_visible", lambda s: leaky(s) | torch.ones_like(leaky(s)).tril())
    verdict = selftest(model).choose(SPEEDUPS)
    assert verdict.on == set(SPEEDUPS) - {SHARED_PREFIX}
    assert "log-probabilities differ by" in verdict.failed[SHARED_PREFIX]
    assert SHARED_PREFIX not in selftest(model, half=True).choose(SPEEDUPS).on


def test_pieces_that_run_into_each_other_cost_padding_free_alone(model, monkeypatch):
    """A row sees the row before it in the packed one."""
    right = pieces.places
    monkeypatch.setattr(pieces, "places", lambda ends, cells: right([[0, ends[-1][-1]]], cells))
    batches = pieces.batches
    monkeypatch.setattr(pieces, "batches", lambda found, ends, cells: batches(found, [[0, ends[-1][-1]]], cells))
    verdict = selftest(model).choose(SPEEDUPS)
    assert verdict.on == set(SPEEDUPS) - {PADDING_FREE} and list(verdict.failed) == [PADDING_FREE]


def test_one_pair_tells_what_packing_would_do(model, monkeypatch):
    """Training may have one pair a batch and the evaluation eight; the comparison packs the first batch anyway."""
    split = attention.split_attention

    def deaf(*args, **kwargs):  # as in a model that does not hand its arguments on to its layers
        kwargs.pop(attention.PIECES, None)
        return split(*args, **kwargs)

    monkeypatch.setattr(attention, "split_attention", deaf)
    one = pairs(model, [[picture(model, 1)]])
    assert PADDING_FREE not in selftest(model, batch=one).choose(SPEEDUPS).on


def with_a_tenth_less_gradient(read):
    def found(*given):
        columns = read(*given)
        return columns._replace(logp=columns.logp * 0.9 + columns.logp.detach() * 0.1)

    return found


def test_a_wrong_gradient_with_right_values_is_found(model, monkeypatch):
    """As with an attention patch that is undone before the backward: the loss is right."""
    from resonance.forward import head

    monkeypatch.setattr(head, "read", with_a_tenth_less_gradient(head.read))
    verdict = selftest(model).choose(SPEEDUPS)
    assert verdict.on == set(SPEEDUPS) - {RESPONSE_HEAD}
    assert (
        list(verdict.failed) == [RESPONSE_HEAD] and "the gradient differs by 1.0e-01" in verdict.failed[RESPONSE_HEAD]
    )
    assert RESPONSE_HEAD in selftest(model, gradients=False).choose(SPEEDUPS).on  # why gradients are compared


def test_fresh_adapters_whose_first_matrices_have_no_gradient_are_compared(monkeypatch):
    """Every other parameter is a `lora_A`, and an even step over 16 of them would meet no `lora_B`."""
    from resonance.forward import head

    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
    monkeypatch.setattr(head, "read", with_a_tenth_less_gradient(head.read))
    test = selftest(model)
    fresh = SelfTest(test._run, test._parameters[:16], False, torch.device("cpu"))
    assert list(fresh.choose(SPEEDUPS).failed) == [RESPONSE_HEAD]


def test_an_error_counts_as_disagreement(model, monkeypatch):
    def refuse(*args, **kwargs):
        raise TypeError("forward() got an unexpected keyword argument 'position_ids'")

    monkeypatch.setattr(masks, "attention_masks", refuse)
    verdict = selftest(model).choose(SPEEDUPS)
    assert verdict.failed == {SHARED_PREFIX: "TypeError: forward() got an unexpected keyword argument 'position_ids'"}


def test_wrongly_shared_features_are_found_in_the_reference(monkeypatch):
    model = for_training(make(FAMILIES["qwen2_vl"]()), "frozen")
    reference = make(FAMILIES["qwen2_vl"]())
    with torch.no_grad():
        for parameter in reference.model.visual.parameters():
            parameter.add_(0.2)
    batch = pairs(model, [[picture(model, 1)]])
    forward = Forward(SPEEDUPS)
    monkeypatch.setattr(forward, "_same_features", lambda *models: True)

    def run(on):
        prepared = forward.prepare(batch, model, reference, on)
        with torch.no_grad():
            theirs = sums(Forward.call(reference, reference, prepared))
        return Forward.call(model, model, prepared), theirs

    assert list(SelfTest(run, [], False, torch.device("cpu")).choose(SPEEDUPS).failed) == [VISION_ONCE]


@pytest.mark.parametrize("also_without_gradients", [False, True])
def test_a_plain_path_that_does_not_fit_is_not_the_end(model, also_without_gradients):
    """Batches that fit only thanks to the speed-ups must train."""
    test = selftest(model)
    run = test._run

    def short_of_memory(on):
        if not on and (torch.is_grad_enabled() or also_without_gradients):
            raise torch.OutOfMemoryError
        return run(on)

    test._run = short_of_memory
    verdict = test.choose(SPEEDUPS)
    assert verdict.on == set(SPEEDUPS) and verdict.gradient is None
    assert (verdict.logps is None) == also_without_gradients


def test_a_plain_path_that_cannot_fit_is_not_tried_where_ranks_share_weights(model, monkeypatch):
    """The others would wait for the rank that runs out of memory."""
    batch = pairs(model, [[picture(model, 1)], [picture(model, 2)]])
    needs = selftest_module.logits_bytes(batch, model)
    responses = int((batch["labels"] != -100).sum())
    assert needs == model.config.text_config.vocab_size * (4 * batch["labels"].numel() + 12 * responses)
    for free, compared in ((needs, True), (needs - 1, False)):
        monkeypatch.setattr(selftest_module, "free_memory", lambda device, free=free: free)
        test, tried = selftest(model, gradients=False, batch=batch), []
        run = test._run
        test._run, test._needs = lambda on, run=run, tried=tried: tried.append(on) or run(on), needs
        verdict = test.choose(SPEEDUPS)
        assert verdict.on == set(SPEEDUPS)
        assert (verdict.logps is not None) == bool(tried) == compared


def test_a_reference_that_is_wrong_by_itself_is_found(model):
    """The policy's own numbers are right."""
    test = selftest(model)
    right = test._run

    def run(on):
        tokens, reference = right(on)
        return tokens, reference + (VISION_ONCE in on)

    test._run = run
    verdict = test.choose(SPEEDUPS)
    assert list(verdict.failed) == [VISION_ONCE]
    assert "log-probabilities of the reference differ" in verdict.failed[VISION_ONCE]
