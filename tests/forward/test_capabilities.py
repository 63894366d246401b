# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a model must not have for a speed-up to be tried on it, each by itself."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from forward.tiny import FAMILIES, make, pairs, picture
from resonance.forward.call import Forward, capabilities
from resonance.forward.names import PADDING_FREE, RESPONSE_HEAD, SHARED_PREFIX, SPEEDUPS, VISION_ONCE

ROWS = {PADDING_FREE, SHARED_PREFIX}  # what lays out the rows in another way


@pytest.fixture
def model():
    return make(FAMILIES["qwen2_vl"]())


def refused(reasons, names, text):
    assert {name for name in reasons if text in reasons[name]} == set(names), reasons
    assert set(reasons) == set(names)


def attention_dropout(model):
    model.model.language_model.layers[1].self_attn.attention_dropout = 0.1


def dropout_module(model):
    model.model.visual.blocks[0].add_module("drop", torch.nn.Dropout(0.1))


def noise(model):
    model.get_input_embeddings().neftune_noise_alpha = 5.0


def state(model):
    model._is_stateful = True


def encoder(model):
    model.config.is_encoder_decoder = True


def cross_attention(model):
    model.config.get_text_config().cross_attention_layers = [1]


def linear_attention(model):
    model.config.get_text_config().layer_types = ["linear_attention", "full_attention", "full_attention"]


def experts(model):
    model.config.get_text_config().output_router_logits = True


def flex_attention(model):
    model.config.get_text_config()._attn_implementation = "flex_attention"


def no_head(model):
    model.get_output_embeddings = lambda: None


CASES = {
    attention_dropout: ({*ROWS, VISION_ONCE}, "dropout is on"),
    dropout_module: ({*ROWS, VISION_ONCE}, "dropout is on"),
    noise: (ROWS, "embeddings are noisy (neftune_noise_alpha)"),
    state: (ROWS, "carries a state"),
    encoder: (ROWS, "carries a state"),
    cross_attention: (ROWS, "attends to pictures across"),
    linear_attention: (ROWS, "layers of type linear_attention"),
    experts: (ROWS, "auxiliary loss of the experts"),
    flex_attention: (ROWS, "attention flex_attention"),
    no_head: ({RESPONSE_HEAD}, "no output head"),
}


@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("whose", ["policy", "reference"])
def test_refused(model, change, whose):
    """By either model: both read the same rows."""
    other = copy.deepcopy(model)
    assert capabilities(model, other) == {}
    change(model if whose == "policy" else other)
    refused(capabilities(model, other), *CASES[change])


def test_dropout_in_an_adapter_of_the_head(model):
    """Fewer rows through it, other random numbers."""
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["lm_head"], lora_dropout=0.1))
    reasons = capabilities(model, model)
    assert set(reasons) == {*ROWS, VISION_ONCE, RESPONSE_HEAD}
    assert "dropout is on in the head" in reasons[RESPONSE_HEAD]


def test_compiled_models_run_as_they_are(model):
    compiled = torch.compile(model)
    assert capabilities(compiled) == capabilities(model, compiled) == dict.fromkeys(SPEEDUPS, "torch.compile")


def test_pictures_that_see_themselves_in_both_directions_are_not_packed():
    config = FAMILIES["gemma3"]()
    config.text_config.layer_types = ["full_attention"] * 3
    assert capabilities(make(config)) == {PADDING_FREE: "pictures that see themselves in both directions take a mask"}


def test_rows_that_the_reference_cannot_read_are_not_packed(model):
    """Asked again for each batch, because an adapter or a setting may have come since."""
    batch = pairs(model, [[picture(model, 1)], [picture(model, 2)]], chosen=[5, 20])
    reference = make(FAMILIES["qwen2_vl"](), attention="eager")
    prepared = Forward({PADDING_FREE}).prepare(batch, model, reference)
    assert prepared.reasons == {PADDING_FREE: "attention eager is not computed by pieces"}
    packed = Forward({PADDING_FREE}, always=True).prepare(batch, model, model).layout
    assert packed.segments.pieces is not None and len(packed.inputs["input_ids"]) == 1
