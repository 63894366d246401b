# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reward models on the engine against LlamaFactory's own trainer: rewards, loss and gradients."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import pytest
import torch
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.collator import PairwiseDataCollatorWithPadding
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from llamafactory.train.rm.trainer import PairwiseTrainer
from transformers import AutoModelForImageTextToText
from trl import AutoModelForCausalLMWithValueHead

from conftest import DATA, MODEL
from resonance.forward.call import Forward
from resonance.forward.names import SPEEDUPS
from resonance.losses import bradley_terry
from resonance.reward_model.head import READER, add_head, closed, rewards
from resonance.rows.collate import PreferenceCollator
from resonance.rows.encode import PairEncoder

ROWS = range(6)


@pytest.fixture(scope="module")
def parts():
    """A tokenizer and a template, as `stage: rm` has them, and tokenized pairs."""
    given = {"stage": "rm", "output_dir": "unused", "dataset": "none", "template": "qwen2_vl", "use_cpu": True}
    model_args, data_args, *_ = get_train_args({**given, "model_name_or_path": str(MODEL)})
    modules = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(modules["tokenizer"], data_args)
    encode = PairEncoder(template, **modules)
    pairs = json.loads((DATA / "pairs.json").read_text())
    return modules, template, [tokenized(encode, pairs[number]) for number in ROWS]


def tokenized(encode, pair):
    images = [str(DATA / name) for name in pair["images"]]
    answers = [{"role": "assistant", "content": pair[side]} for side in ("chosen", "rejected")]
    prompt = [{"role": "user", "content": pair["instruction"]}]
    row = {"_prompt": prompt, "_response": answers, "_system": "", "_tools": "", "_images": images}
    ids = encode({**row, "_videos": [], "_audios": []}).model_inputs()
    names = ("chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels")
    found = {**dict(zip(names, ids, strict=True)), "images": images, "videos": [], "audios": []}
    return found | {f"{side}_attention_mask": [1] * len(found[f"{side}_input_ids"]) for side in ("chosen", "rejected")}


def model_with_head():
    model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32).train()
    torch.manual_seed(0)
    add_head(model)
    return model


def llamafactory(model, parts):
    """Loss, rewards and gradients of LlamaFactory's trainer, without the dropout of trl's head."""
    modules, template, rows = parts
    inner = copy.deepcopy(model)
    head = inner._modules.pop("v_head")
    inner.config.hidden_size = inner.config.get_text_config().hidden_size  # as LlamaFactory does
    whole = AutoModelForCausalLMWithValueHead.from_pretrained(inner)
    whole.v_head.dropout.p = 0.0
    whole.v_head.summary.load_state_dict(head.summary.state_dict())
    batch = PairwiseDataCollatorWithPadding(template=template, model=inner, pad_to_multiple_of=8, **modules)(rows)
    loss, (_, *found) = PairwiseTrainer.compute_loss(SimpleNamespace(), whole, batch, return_outputs=True)
    loss.backward()
    named = {name.removeprefix("pretrained_model."): p for name, p in whole.named_parameters()}
    return loss.detach(), found, {name: p.grad for name, p in named.items() if p.grad is not None}


def ours(model, parts, on):
    modules, template, rows = parts
    collator = PreferenceCollator(template=template, model=model, pad_to_multiple_of=8, longer=closed, **modules)
    prepared = Forward(on, always=True).prepare(collator(rows), model)
    found = rewards(Forward.call(model, model, prepared, (READER,))).chunk(2)
    loss = bradley_terry(*found).mean()
    loss.backward()
    return loss.detach(), found, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("on", [(), SPEEDUPS], ids=["plain", "speedups"])
def test_equal_to_llamafactory(parts, on):
    model = model_with_head()
    loss, found, gradients = ours(model, parts, on)
    their_loss, theirs, their_gradients = llamafactory(model_with_head(), parts)
    torch.testing.assert_close(loss, their_loss, rtol=1e-6, atol=1e-6)
    for mine, other in zip(found, theirs, strict=True):
        torch.testing.assert_close(mine, other.float(), rtol=1e-5, atol=1e-5)
    assert gradients.keys() == their_gradients.keys() and "v_head.summary.weight" in gradients
    largest = max(float(gradient.abs().max()) for gradient in their_gradients.values())
    for name, gradient in gradients.items():
        assert float((gradient - their_gradients[name]).abs().max()) <= 1e-5 * largest, name


def test_the_reward_stands_at_the_last_token_of_the_template(parts):
    """At the end of the answer, one token before, it is another one."""
    model = model_with_head().eval()
    modules, template, rows = parts
    at = {}
    for name, longer in (("template", closed), ("answer", None)):
        collator = PreferenceCollator(template=template, model=model, pad_to_multiple_of=8, longer=longer, **modules)
        prepared = Forward(()).prepare(collator(rows), model)
        with torch.no_grad():
            at[name] = rewards(Forward.call(model, model, prepared, (READER,)))
    assert float((at["template"] - at["answer"]).abs().min()) > 1e-3


def test_an_output_head_of_its_own_is_not_trained():
    model = model_with_head()
    assert model.lm_head.weight is not model.get_input_embeddings().weight
    assert not model.lm_head.weight.requires_grad and model.get_input_embeddings().weight.requires_grad
