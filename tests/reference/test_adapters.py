# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Adapters off by flags are adapters off by PEFT, bit for bit, and leave nothing behind."""

from __future__ import annotations

from contextlib import nullcontext

import peft
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer

from forward.tiny import FAMILIES, for_training, inner, is_language, make, pairs, picture
from resonance.reference import adapters
from resonance.reference.adapters import adapters_off


def linears(model, tower=False):
    named = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    return [name for name, _ in named if tower or is_language(name)]


def randomised(model):
    """With adapters that change what the model computes."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name or "trainable_tokens" in name:
            parameter.data.add_(torch.empty_like(parameter).normal_(0, 0.05, generator=generator))
    return model.train()


def lora(model, **options):
    return get_peft_model(model, LoraConfig(r=4, target_modules=linears(model), task_type="CAUSAL_LM", **options))


def several(model):
    """Two adapters, both in use."""
    found = lora(model)
    found.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    found.base_model.set_adapter(["default", "second"])
    return found


def another_active(model):
    """Two adapters with a copy of the head each, of which the second is in use."""
    found = lora(model, modules_to_save=["lm_head"])
    found.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]))
    found.set_adapter("second")
    return found


def in_the_tower(model):
    return get_peft_model(model, LoraConfig(r=4, target_modules=linears(model, tower=True), task_type="CAUSAL_LM"))


BUILDS = {
    "lora": lora,
    "dora": lambda model: lora(model, use_dora=True),
    "rslora": lambda model: lora(model, use_rslora=True),
    "modules_to_save": lambda model: lora(model, modules_to_save=["lm_head", "embed_tokens"]),
    "trainable tokens": lambda model: lora(model, trainable_token_indices=[3, 30, 40]),
    "several": several,
    "another active": another_active,
    "tower": in_the_tower,
}
OTHERS = {
    "bias": lambda model: lora(model, bias="lora_only"),
    "prompts": lambda model: get_peft_model(model, peft.PromptTuningConfig("CAUSAL_LM", num_virtual_tokens=2)),
    "layer norms": lambda model: get_peft_model(
        model, peft.LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm"])
    ),
}


def built(build, checkpointing="off"):
    plain = make(FAMILIES["qwen2_vl"]())
    if checkpointing != "off":
        for_training(plain, "full", checkpointing)
    return randomised(build(plain))


def batch_of(model):
    batch = pairs(model, [[picture(model, 1)]])
    return {name: value for name, value in batch.items() if name != "labels"}


def logits(model, batch, off=nullcontext):
    with torch.no_grad(), off(model):
        return model(**batch, use_cache=False).logits


def state(model):
    """What a switch may touch: gradients asked for, which adapters are on, which layers are checkpointed."""
    names = ("_disable_adapters", "gradient_checkpointing", "training")
    flags = [(name, getattr(module, name, None)) for module in model.modules() for name in names]
    return [(n, p.requires_grad) for n, p in model.named_parameters()], flags, model._adapters_disabled


@pytest.mark.parametrize("checkpointing", ["off", "reentrant"])
@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_off_is_what_peft_computes_bit_for_bit(build, checkpointing, monkeypatch):
    model = built(build, checkpointing)
    batch = batch_of(model)
    wanted, on = logits(model, batch, PeftModel.disable_adapter), logits(model, batch)
    assert not torch.equal(wanted, on)
    before = state(model)
    monkeypatch.setattr(PeftModel, "disable_adapter", lambda self: pytest.fail("PEFT was asked"))
    assert torch.equal(logits(model, batch, adapters_off), wanted)
    assert torch.equal(logits(model, batch), on) and state(model) == before


@pytest.mark.parametrize("build", OTHERS.values(), ids=OTHERS)
@pytest.mark.filterwarnings("ignore:Careful, disabling adapter layers")
def test_what_flags_do_not_switch_is_left_to_peft(build, monkeypatch):
    model = build(make(FAMILIES["qwen2"]())).train()
    asked, original = [], PeftModel.disable_adapter
    monkeypatch.setattr(PeftModel, "disable_adapter", lambda self: asked.append(1) or original(self))
    with adapters_off(model):
        pass
    assert asked == [1]


def test_a_layer_that_does_more_is_left_to_peft(monkeypatch):
    model = built(lora)
    kind = type(next(module for module in model.modules() if isinstance(module, BaseTunerLayer)))
    monkeypatch.setattr(kind, "enable_adapters", lambda self, on: None, raising=False)
    assert adapters._switches(model) is None


def test_nothing_is_checkpointed_without_a_graph():
    model = built(lora, "reentrant")
    batch, calls = batch_of(model), []
    for module in model.modules():
        if original := vars(module).get("_gradient_checkpointing_func"):
            module._gradient_checkpointing_func = lambda *a, f=original, **k: calls.append(1) or f(*a, **k)
    logits(model, batch)
    checkpointed = len(calls)
    assert checkpointed and not logits(model, batch, adapters_off).requires_grad and len(calls) == checkpointed
    logits(model, batch)
    assert len(calls) == 2 * checkpointed


def test_an_error_switches_them_on_again():
    model = built(BUILDS["modules_to_save"])
    before = state(model)
    with pytest.raises(RuntimeError, match="out of memory"), adapters_off(model):
        assert state(model) != before
        raise RuntimeError("out of memory")
    assert state(model) == before


def test_what_was_off_or_frozen_stays_so():
    """PEFT itself turns everything on afterwards, and makes it train."""
    model = built(lora)
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    layers[0]._disable_adapters = True
    layers[1].requires_grad_(False)
    before = state(model)
    with adapters_off(model), adapters_off(model):
        assert all(layer.disable_adapters for layer in layers)
    assert state(model) == before


def test_layers_that_come_later_are_switched_too():
    model = built(lora)
    batch = batch_of(model)
    wanted = logits(model, batch, adapters_off)
    model.add_adapter("more", LoraConfig(r=2, target_modules=linears(inner(model), tower=True)))
    model.base_model.set_adapter(["default", "more"])
    randomised(model)
    assert not torch.equal(logits(model, batch), wanted)
    assert torch.equal(logits(model, batch, adapters_off), wanted)


def test_a_model_without_adapters_cannot_be_its_own_reference():
    with pytest.raises(ValueError, match="Qwen2ForCausalLM has no adapters to switch off"):
        with adapters_off(make(FAMILIES["qwen2"]())):
            pass
