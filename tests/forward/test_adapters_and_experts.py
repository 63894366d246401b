# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Adapters anywhere in a model that sees, and models with experts: the same numbers as LlamaFactory's own pass."""

from __future__ import annotations

import pytest
import torch
import transformers as tf
from peft import LoraConfig, get_peft_model

from forward.test_parity import compare
from forward.tiny import _TEXT, FAMILIES, for_training, is_language, make, pairs, picture
from resonance.forward.call import capabilities
from resonance.forward.names import FROZEN_TOWER, RESPONSE_HEAD, SHARED_PREFIX, SPEEDUPS, VISION_ONCE

VISION = [name for name in FAMILIES if name != "qwen2"]
EXPERTS = dict(
    _TEXT, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, shared_expert_intermediate_size=32
)


def adapted(family, **options):
    """LoRA with weights that matter, as it is in the middle of a training."""
    model = for_training(make(FAMILIES[family]()), "full", "reentrant")
    model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **options)).train()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05, generator=generator)
    return model


def linear(model, part):
    """Names of the linear layers of the tower or of the language model without its head."""
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]
    return [n for n in names if is_language(n) == (part == "language")]


def check(model, family, llamafactory):
    some = [[picture(model, 0), picture(model, 1)], [], [picture(model, 2)]] if family in VISION else [[], [], []]
    token, apart, gradient = compare(model, pairs(model, some), llamafactory)
    assert token < 1e-5 and apart < 1e-6 and gradient[0] < 1e-5, (token, apart, gradient)


@pytest.mark.parametrize("family", VISION)
def test_an_adapter_in_the_tower(family, llamafactory):
    plain = make(FAMILIES[family]())
    model = adapted(family, target_modules=linear(plain, "tower") + linear(plain, "language"))
    assert any("lora_A" in n and not is_language(n) and p.requires_grad for n, p in model.named_parameters())
    check(model, family, llamafactory)


@pytest.mark.parametrize("family", [*VISION, "qwen2"])
def test_an_adapter_on_the_head_and_dora(family, llamafactory):
    names = [*linear(make(FAMILIES[family]()), "language"), "lm_head"]
    check(adapted(family, target_modules=names, use_dora=True), family, llamafactory)


@pytest.mark.parametrize("family", ["qwen2_vl", "llava", "qwen2"])
def test_a_head_and_embeddings_that_are_saved_whole(family, llamafactory):
    names = linear(make(FAMILIES[family]()), "language")
    model = adapted(family, target_modules=names, modules_to_save=["lm_head", "embed_tokens"])
    check(model, family, llamafactory)


@pytest.mark.parametrize("config", [tf.Qwen2MoeConfig, tf.Qwen3MoeConfig], ids=lambda c: c.model_type)
def test_experts_without_an_auxiliary_loss_share_prompts(config, llamafactory):
    """Each token finds its experts by itself, whichever row it stands in."""
    model = for_training(make(config(**EXPERTS)), "full", "reentrant")
    assert set(capabilities(model)) == {FROZEN_TOWER, VISION_ONCE}
    check(model, "experts", llamafactory)


def test_an_auxiliary_loss_of_the_experts_sees_the_rows_it_always_saw(llamafactory):
    """It counts tokens an expert, so rows that hold each prompt once would change it."""
    model = for_training(make(tf.Qwen2MoeConfig(**EXPERTS, output_router_logits=True)), "full")
    reasons = capabilities(model)
    assert "auxiliary loss of the experts" in reasons[SHARED_PREFIX]
    on = set(SPEEDUPS) - set(reasons)
    assert RESPONSE_HEAD in on and SHARED_PREFIX not in on
    token, _, gradient = compare(model, pairs(model, [[], []]), llamafactory, on)
    assert token < 1e-5 and gradient[0] < 1e-5
