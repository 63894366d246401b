# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The head on response rows: its own module, in pieces if need be, and whatever the model does to logits after it."""

from __future__ import annotations

import pytest
import torch
import transformers as tf
from peft import LoraConfig, get_peft_model

from forward.conftest import gradients, worst
from forward.tiny import _TEXT, FAMILIES, for_training, make, pairs, picture
from resonance.forward import columns, head, readers
from resonance.forward.call import Forward
from resonance.forward.names import RESPONSE_HEAD, SPEEDUPS
from resonance.forward.result import mean_logits, sums


def both(model, batch, llamafactory, on=SPEEDUPS):
    prompts = len(batch["input_ids"]) // 2
    theirs = llamafactory(model, batch)
    (theirs.sums[:prompts] - theirs.sums[prompts:]).sum().backward()
    expected = gradients(model)
    ours = Forward.call(model, model, Forward(on).prepare(batch, model, model))
    found = sums(ours)
    (found[:prompts] - found[prompts:]).sum().backward()
    assert (ours.values - theirs.tokens).abs().max() < 1e-5
    assert worst(gradients(model), expected)[0] < 1e-5
    return ours


@pytest.fixture
def text_pairs():
    return lambda model: pairs(model, [[], [], []])


def test_in_pieces(monkeypatch, text_pairs, llamafactory):
    model = for_training(make(FAMILIES["qwen2"]()), "full")
    plain_call, seen = columns.read, []
    monkeypatch.setattr(columns, "read", lambda z, *given: seen.append(len(z)) or plain_call(z, *given))
    monkeypatch.setattr(head.reading.__wrapped__, "__defaults__", (10 * 256 * 4,))
    tokens = both(model, text_pairs(model), llamafactory)
    assert max(seen) == 10 and len(seen) > 5
    assert mean_logits(tokens, 6).shape == (6,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_few_rows_at_a_time(dtype, monkeypatch):
    """11 rows of 50 logits, three at a time, against float32 log_softmax of all, value and gradient."""
    monkeypatch.setattr(columns, "_CHUNK_BYTES", 3 * 50 * 4)
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(11, 50, generator=generator)).to(dtype).requires_grad_()
    targets = torch.randint(50, (11,), generator=generator)
    weights = torch.randn(11, generator=generator)
    expected = logits.float().log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    (right,) = torch.autograd.grad((expected * weights).sum(), logits)
    found = columns.read(logits, targets, readers.Asked.of(readers.DEFAULT, 50)).logp
    (gradient,) = torch.autograd.grad((found * weights).sum(), logits)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    torch.testing.assert_close(gradient, right)


@pytest.mark.parametrize("wrapped", ["lora", "modules_to_save"])
def test_adapters_on_the_head(wrapped, text_pairs, llamafactory):
    options = dict(target_modules=["lm_head", "q_proj"]) if wrapped == "lora" else dict(target_modules=["q_proj"])
    options |= dict(modules_to_save=["lm_head"]) if wrapped == "modules_to_save" else {}
    model = get_peft_model(make(FAMILIES["qwen2"]()), LoraConfig(r=4, task_type="CAUSAL_LM", **options)).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = text_pairs(model)
    both(model, batch, llamafactory)
    with model.disable_adapter(), torch.no_grad():
        theirs = llamafactory(model, batch).tokens
        ours = Forward.call(model, model, Forward(SPEEDUPS).prepare(batch, model, model)).values
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        tf.Gemma2Config(**_TEXT, head_dim=8, query_pre_attn_scalar=8, sliding_window=9, final_logit_softcapping=3.0),
        tf.CohereConfig(**_TEXT, logit_scale=0.25),
        tf.MistralConfig(**_TEXT, sliding_window=9, head_dim=8),
    ],
    ids=lambda c: c.model_type,
)
def test_logits_changed_after_the_head_and_windows_on_every_layer(config, text_pairs, llamafactory):
    model = for_training(make(config, attention="eager" if config.model_type == "gemma2" else "sdpa"), "full")
    assert head.keeps_logits(config) == (config.model_type != "mistral")
    both(model, text_pairs(model), llamafactory)


def test_a_cap_is_found_in_the_part_that_speaks():
    config = FAMILIES["gemma3"]()
    assert not head.keeps_logits(config)
    config.text_config.final_logit_softcapping = 30.0
    assert head.keeps_logits(config)


def test_mean_logits_are_those_of_the_response_rows(llamafactory):
    model = for_training(make(FAMILIES["qwen2_vl"]()), "full")
    batch = pairs(model, [[picture(model, 0)], []])
    plain, fast = (Forward.call(model, model, Forward(on).prepare(batch, model, model)) for on in ((), SPEEDUPS))
    logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits[:, :-1]
    mask = batch["labels"][:, 1:] != -100
    expected = torch.stack([logits[row][mask[row]].mean() for row in range(4)])
    for found in (plain, fast):
        torch.testing.assert_close(mean_logits(found, 4), expected.detach(), rtol=1e-4, atol=1e-6)
        assert not mean_logits(found, 4).requires_grad


def test_restored_also_after_an_error_and_over_hooks_on_forward(text_pairs):
    model = make(FAMILIES["qwen2"]())
    rows = Forward({RESPONSE_HEAD}).prepare(text_pairs(model), model).layout
    with pytest.raises(KeyError), head.reading(model, rows, readers.DEFAULT, on_rows=True):
        raise KeyError
    assert "forward" not in vars(model.lm_head) and "forward" not in vars(model)
    hooked = model.lm_head.forward = lambda x: torch.nn.functional.linear(
        x, model.lm_head.weight
    )  # as Accelerate does
    with pytest.raises(RuntimeError, match="0 times"), head.reading(model, rows, readers.DEFAULT, on_rows=True):
        assert model.lm_head.forward is not hooked
    assert model.lm_head.forward is hooked and "forward" not in vars(model)


def test_a_head_that_is_not_called_is_noticed(text_pairs):
    """A model that multiplies by the weight itself would return logits of all rows in place of log-probabilities."""
    model = make(FAMILIES["qwen2"]())
    batch = text_pairs(model)
    prepared = Forward({RESPONSE_HEAD}).prepare(batch, model)

    def careless(**inputs):
        hidden = model.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])[0]
        return tf.modeling_outputs.CausalLMOutput(logits=hidden @ model.lm_head.weight.T)

    with pytest.raises(RuntimeError, match="called its output head 0 times"):
        Forward.call(careless, model, prepared)


def test_logits_to_keep_would_be_swallowed():
    """Why the head is replaced and not asked through `logits_to_keep`: models without it take and ignore it."""

    class Old(torch.nn.Module):
        def forward(self, input_ids, **kwargs):
            return torch.zeros(*input_ids.shape, 5)

    assert Old()(torch.zeros(2, 7, dtype=torch.long), logits_to_keep=torch.tensor([3])).shape == (2, 7, 5)
