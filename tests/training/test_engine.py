# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""An engine calls policy and reference without any trainer."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from forward.tiny import FAMILIES, for_training, make, pairs, picture
from resonance.forward.call import Forward
from resonance.forward.features import FeatureCache
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX, SPEEDUPS
from resonance.forward.result import sums
from resonance.forward.selftest import Verdict
from resonance.training.engine import Engine
from resonance.training.speedups import Batches, Decision, describe

torch.set_num_threads(1)
ON = re.compile(r"pref_speedups: on: (.*?);")


def as_it_is(value):
    return value


def engine_of(policy, reference=None, asked=SPEEDUPS, **batches):
    return Engine(Accelerator(cpu=True), policy, reference, asked, Batches(as_it_is, as_it_is, **batches))


def base():
    return make(FAMILIES["qwen2_vl"]())


def policy_with_adapters():
    """Adapters that have been trained: B is not zero."""
    return for_training(base(), "lora")


def plain_sums(model, batch):
    with torch.no_grad():
        return sums(Forward.call(model, model, Forward(()).prepare(dict(batch), model)))


@pytest.fixture
def batch():
    model = base()
    return pairs(model, [[picture(model, 1)], [picture(model, 2)]])


@pytest.fixture
def lines(caplog, monkeypatch):
    """What is logged, as text."""
    monkeypatch.setattr(logging.getLogger("llamafactory"), "propagate", True)
    caplog.set_level("INFO", logger="llamafactory")
    return lambda: [record.getMessage() for record in caplog.records if "pref_speedups" in record.getMessage()]


# -- the reference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [SPEEDUPS, ()], ids=["all", "none"])
def test_the_policy_with_its_adapters_off(asked, batch):
    policy = policy_with_adapters()
    engine = engine_of(policy, policy, asked)
    prepared = engine.prepare(policy, batch)
    reference, ours = sums(engine.reference_logps(policy, prepared)), sums(engine.logps(policy, prepared))
    torch.testing.assert_close(reference, plain_sums(base(), batch), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours.detach(), plain_sums(policy, batch), rtol=1e-5, atol=1e-4)
    assert float((reference - ours.detach()).abs().min()) > 0.1, "the adapters make a difference"
    assert ours.requires_grad and not reference.requires_grad


def noisy(module, given, output):
    """As Transformers' hook of `neftune_noise_alpha`."""
    return output + torch.randn_like(output) if module.training else output


@pytest.mark.parametrize("asked", [SPEEDUPS, ()], ids=["all", "none"])
def test_a_reference_has_no_noise_and_no_dropout(asked, batch):
    config = FAMILIES["qwen2_vl"]()
    config.get_text_config().attention_dropout = 0.3
    policy = for_training(make(config), "lora")
    embeddings = policy.get_input_embeddings()
    embeddings.neftune_noise_alpha = 5.0
    embeddings.register_forward_hook(noisy)
    engine, wanted = engine_of(policy, policy, asked), plain_sums(base(), batch)
    state = torch.get_rng_state()
    prepared = engine.prepare(policy, batch)
    assert torch.equal(torch.get_rng_state(), state)
    reference = sums(engine.reference_logps(policy, prepared))
    assert torch.equal(torch.get_rng_state(), state), "it draws nothing from the random numbers of the run"
    torch.testing.assert_close(reference, wanted, rtol=1e-5, atol=1e-4)
    assert all(module.training for module in policy.modules()) and embeddings.training
    ours = sums(engine.logps(policy, prepared)).detach()
    assert not torch.equal(ours, sums(engine.logps(policy, prepared)).detach()), "the policy keeps its noise"
    assert all(p.requires_grad for name, p in policy.named_parameters() if "lora_" in name)


def test_another_model(batch):
    policy, other = for_training(base(), "full"), base().eval()
    for parameter in other.parameters():
        parameter.data.mul_(1.3)
    engine = engine_of(policy, other)
    prepared = engine.prepare(policy, batch)
    reference = sums(engine.reference_logps(policy, prepared))
    torch.testing.assert_close(reference, plain_sums(other, batch), rtol=1e-5, atol=1e-4)
    assert not reference.requires_grad
    assert float((reference - plain_sums(policy, batch)).abs().min()) > 0.1


def test_none(batch):
    policy = for_training(base(), "full")
    engine = engine_of(policy)
    assert engine.reference_logps(policy, engine.prepare(policy, batch)) is None


def test_a_policy_without_adapters_is_not_its_own_reference(batch):
    policy = for_training(base(), "full")
    engine = engine_of(policy, policy, ())
    with pytest.raises(ValueError, match="has no adapters to switch off"):
        engine.reference_logps(policy, engine.prepare(policy, batch))


# -- models -----------------------------------------------------------------------------------------------------------


class Wrapper(nn.Module):
    """As DDP is one."""

    def __init__(self, module):
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, **inputs):
        self.calls += 1
        return self.module(**inputs)


def test_models_are_called_through_their_wrapper_and_unwrapped_once(batch, monkeypatch):
    policy = policy_with_adapters()
    engine, asked = engine_of(policy, policy, ()), []
    monkeypatch.setattr(
        engine, "accelerator", SimpleNamespace(unwrap_model=lambda m: asked.append(m) or getattr(m, "module", m))
    )
    monkeypatch.setattr(engine.accelerator, "state", Accelerator(cpu=True).state, raising=False)
    wrapped = Wrapper(policy)
    for _ in range(3):
        prepared = engine.prepare(wrapped, batch)
        engine.reference_logps(wrapped, prepared)
        engine.logps(wrapped, prepared)
    assert wrapped.calls == 6 and asked == [wrapped]
    another = Wrapper(policy)
    assert engine.unwrapped(another) is policy and asked == [wrapped, another]


def test_what_is_carried_beside_model_inputs_never_reaches_a_model(batch):
    policy = for_training(base(), "full")
    engine = engine_of(policy, carried=("score_chosen",))
    prepared = engine.prepare(policy, {**batch, "score_chosen": torch.zeros(2)})
    assert "score_chosen" not in prepared.layout.inputs
    engine.logps(policy, prepared)


# -- speed-ups --------------------------------------------------------------------------------------------------------


def test_the_decision_is_made_once_and_again_on_the_first_batch_with_gradients(batch, lines):
    policy = policy_with_adapters()
    engine = engine_of(policy, policy)

    def decided():
        return [line for line in lines() if ON.search(line)]

    with torch.no_grad():
        engine.prepare(policy, batch)
        engine.prepare(policy, batch)
        (first,) = decided()
        assert "gradients not compared" in first
    for _ in range(2):
        engine.prepare(policy, batch)
    with torch.no_grad():
        engine.prepare(policy, batch)
    first, second = decided()
    assert "its gradient by" in second and ON.search(first)[1] == ON.search(second)[1]
    assert set(ON.search(second)[1].split(", ")) == set(SPEEDUPS) == engine.forward.on


def test_comparing_leaves_no_gradient_and_the_random_numbers_as_they_were(batch):
    policy = policy_with_adapters()
    state = torch.get_rng_state()
    engine_of(policy, policy).prepare(policy, batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in policy.parameters())


def test_where_a_backward_does_more_only_log_probabilities_are_compared(batch, lines, monkeypatch):
    policy = policy_with_adapters()
    engine = engine_of(policy, policy)
    monkeypatch.setattr(AcceleratorState, "deepspeed_plugin", object())
    assert engine.sharded and not engine.uses_fsdp
    engine.prepare(policy, batch)
    assert "gradients not compared" in lines()[0]


def test_a_reason_is_logged_once(batch, lines):
    policy = for_training(base(), "frozen")
    engine = engine_of(policy, asked=(SHARED_PREFIX,))
    engine.prepare(policy, batch)
    other = batch | {"input_ids": batch["input_ids"].clone()}
    other["input_ids"][:2, 0] += 1  # the prompts differ
    for _ in range(2):
        engine.prepare(policy, other)
    (line,) = [line for line in lines() if "not used for some batches" in line]
    assert "shared_prefix" in line and "different prompts" in line


def test_whether_prompts_may_be_shared_is_known_before_a_batch():
    policy = for_training(base(), "full")
    assert engine_of(policy).may_share() and not engine_of(policy, asked=(PADDING_FREE,)).may_share()
    noisy = FAMILIES["qwen2_vl"]()
    noisy.text_config.attention_dropout = 0.1
    assert not engine_of(make(noisy)).may_share()


def test_another_model_alone_has_the_same_features_and_logs_failures_only(batch, lines, monkeypatch):
    policy, other = for_training(base(), "full"), base().eval()
    engine = engine_of(policy)
    engine.feature_cache = FeatureCache(1 << 20, 2, lambda line: None)
    alone = engine.alone(other)
    with torch.no_grad():
        found = sums(alone.on_batch(other, batch))
    torch.testing.assert_close(found, plain_sums(other, batch), rtol=1e-5, atol=1e-4)
    assert alone.forward.feature_cache is engine.feature_cache and lines() == []
    failed = Decision(Verdict(frozenset(), {SHARED_PREFIX: "it was wrong"}))
    monkeypatch.setattr("resonance.training.engine.decide", lambda *_: failed)
    with torch.no_grad():
        engine.alone(other).prepare(other, batch)
    assert lines() == ["pref_speedups: shared_prefix is off in the pass of the reference: it was wrong."]


def test_a_decision_is_described_without_a_model():
    frozen = SimpleNamespace()
    nothing = Decision(Verdict(frozenset()), {SHARED_PREFIX: "torch.compile"})
    assert describe(nothing, frozen, None) == "pref_speedups: on: nothing; off: shared_prefix (torch.compile)."
    assert not nothing.is_doubtful
    failed = Decision(Verdict(frozenset(), {SHARED_PREFIX: "log-probabilities differ by 1.0e+00 a token"}))
    assert failed.is_doubtful and "SimpleNamespace does not agree with its plain path" in describe(
        failed, frozen, None
    )
    assert Decision(Verdict(frozenset({SHARED_PREFIX}))).is_doubtful, "nothing was compared"
