# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A critic with a body of its own: what it shares with the policy, what its loss trains, and what is in its file."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from forward.tiny import FAMILIES, Prompt, answers, for_training, inner, make, picture
from resonance.forward.call import Forward
from resonance.forward.names import SPEEDUPS
from resonance.forward.readers import Logp
from resonance.training.critic import (
    HEAD,
    MODEL,
    READERS,
    add_value_head,
    add_value_model,
    continue_critic,
    load_critic,
    own_weights,
    save_critic,
    without_critic,
)

OURS = READERS[MODEL]


def with_critic(family="qwen2_vl", mode="lora", checkpointing="off"):
    model = for_training(make(FAMILIES[family]()), mode, checkpointing)
    critic = add_value_model(model)
    nn.init.normal_(critic["head"].weight)
    return model, critic


def batch_of(model):
    shown = [[], []] if inner(model).config.model_type == "qwen2" else [[picture(model, 1)], [picture(model, 2)]]
    return answers(model, [Prompt(shown[0], [5, 3]), Prompt(shown[1], [4, 6])])


def gradients(model, on, batch, value):
    """Of all weights that train, by name, after a loss of log-probabilities, and of values if `value` is given."""
    model.zero_grad(set_to_none=True)
    prepared = Forward(on, always=True).prepare(batch, model)
    found = Forward.call(model, model, prepared, [Logp(), *([OURS] if value else [])]).columns
    loss = found["logp"].square().sum()
    (loss + value * (found["value"] - 1).square().sum() if value else loss).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("on", [SPEEDUPS, ()], ids=["fast", "plain"])
@pytest.mark.parametrize(
    ("family", "mode", "checkpointing"),
    [
        ("qwen2_vl", "lora", "reentrant"),
        ("qwen2_vl", "full", "off"),
        ("llava", "frozen", "off"),
        ("qwen2", "lora", "off"),
    ],
)
def test_the_value_loss_leaves_the_gradient_of_the_policy_alone(family, mode, checkpointing, on):
    model, critic = with_critic(family, mode, checkpointing)
    batch = batch_of(model)
    alone, both = (gradients(model, on, dict(batch), value) for value in (0, 0.1))
    own = {f"{MODEL}.{name}" for name in own_weights(critic)}
    assert set(alone) == {name for name, p in model.named_parameters() if p.requires_grad} - own
    assert all(torch.equal(both[name], alone[name]) for name in alone)
    assert set(both) - set(alone) == own and all(both[name].isfinite().all() for name in own)
    assert sum(bool(both[name].any()) for name in own) > len(own) / 2


@pytest.mark.parametrize("mode", ["lora", "frozen", "full"])
def test_what_does_not_train_is_shared(mode):
    model, critic = with_critic(mode=mode)
    policy = dict(inner(model).model.named_parameters())
    assert set(policy) == {name for name, _ in critic["body"].named_parameters()}
    for name, parameter in critic["body"].named_parameters():
        assert (parameter is policy[name]) == (not policy[name].requires_grad), name
        assert torch.equal(parameter, policy[name])
    assert {"lora": ["self_attn"], "frozen": ["self_attn"], "full": ["self_attn", "visual"]}[mode] == [
        part for part in ("self_attn", "visual") if any(part in name for name in own_weights(critic))
    ]
    assert critic["body"].config is inner(model).model.config


@pytest.mark.parametrize(("mode", "times"), [("lora", 1), ("frozen", 1), ("full", 2)])
def test_a_tower_that_is_shared_sees_a_picture_once(mode, times):
    """And a copy has the values that a head on the policy would have."""
    model, critic = with_critic(mode=mode)
    head = add_value_head(model)
    head.load_state_dict(critic["head"].state_dict())
    batch, calls = batch_of(model), []
    for body in (inner(model).model, critic["body"]):
        body.visual.register_forward_hook(lambda *_: calls.append(1))
    prepared = Forward(SPEEDUPS, always=True).prepare(batch, model)
    found = Forward.call(model, model, prepared, [Logp(), OURS]).columns["value"]
    assert len(calls) == times
    shared = Forward.call(model, model, prepared, [Logp(), READERS[HEAD]]).columns["value"]
    assert torch.equal(found, shared) and bool(found.any())


def test_the_body_computes_in_the_precision_of_the_model():
    """Accelerate wraps autocast around the forward of the model, within which the body has to run, too."""
    model, critic = with_critic("qwen2", "full")
    seen = []
    critic["body"].register_forward_hook(lambda *_: seen.append(torch.get_autocast_dtype("cpu")))
    critic["body"].register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(model.forward)
    Forward.call(model, model, Forward(SPEEDUPS).prepare(batch_of(model), model), [Logp(), OURS])
    assert seen == [torch.bfloat16, True]


def test_whoever_asks_for_no_values_does_not_call_it():
    model, critic = with_critic()
    critic["body"].register_forward_hook(lambda *_: pytest.fail("the critic ran"))
    batch = batch_of(model)
    Forward.call(model, model, Forward(SPEEDUPS).prepare(dict(batch), model))
    inner(model).generate(input_ids=batch["input_ids"][:, :3], max_new_tokens=2)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_its_file_has_its_own_weights_and_the_policys_file_none_of_them(mode, tmp_path):
    model, critic = with_critic(mode=mode)
    names = set(for_training(make(FAMILIES["qwen2_vl"]()), mode).state_dict())
    for parameter in own_weights(critic).values():
        nn.init.normal_(parameter)
    state = model.state_dict()
    assert set(save_critic(MODEL, critic, state, str(tmp_path))) == names
    assert set(load_file(tmp_path / f"{MODEL}.safetensors")) == set(own_weights(critic))
    with without_critic(model):
        assert set(model.state_dict()) == names
    assert set(model.state_dict()) == set(state)

    _, other = with_critic(mode=mode)
    continue_critic(MODEL, other, str(tmp_path))
    kept = own_weights(critic)
    assert all(torch.equal(parameter, kept[name]) for name, parameter in own_weights(other).items())


def test_a_file_of_another_model_is_refused(tmp_path):
    model, critic = with_critic(mode="lora")
    save_critic(MODEL, critic, model.state_dict(), str(tmp_path))
    other = with_critic(mode="full")[1]
    with pytest.raises(
        ValueError, match=r"value_model.safetensors: holds .* \(\d+ weights differ\)\. It is of another"
    ):
        load_critic(MODEL, other, str(tmp_path))


def test_the_head_of_a_shared_critic_fits_a_separate_one(tmp_path):
    model = for_training(make(FAMILIES["qwen2"]()), "lora")
    head = add_value_head(model)
    nn.init.normal_(head.weight)
    save_critic(HEAD, head, model.state_dict(), str(tmp_path))
    _, critic = with_critic("qwen2")
    continue_critic(MODEL, critic, str(tmp_path))
    assert torch.equal(critic["head"].weight, head.weight)


def test_a_model_without_a_body_is_refused():
    class Whole(nn.Module):
        base_model = property(lambda self: self)

    model = Whole()
    with pytest.raises(ValueError, match="critic: separate: Whole has no body apart from its output head"):
        add_value_model(model)
