# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Masks of shared rows, cell by cell."""

from __future__ import annotations

import pytest
import torch

from forward.conftest import lay_out
from forward.tiny import FAMILIES, make, pairs, picture
from resonance.forward import arrange, masks, prompts
from resonance.forward.call import Forward, media_tokens
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX

PREFIX, FIRST, SECOND, OUTSIDE = arrange.PREFIX, 1, 2, arrange.OUTSIDE


def shared(family):
    model = make(FAMILIES[family]())
    batch = pairs(model, [[picture(model, 0), picture(model, 1)], []])
    return model, lay_out(
        batch, {SHARED_PREFIX}, media_tokens(model.config), model_type=model.config.model_type
    ).layout


@pytest.mark.parametrize("family", ["gemma3", "qwen2_vl"])
def test_everybody_sees_somebody(family):
    """A row of a mask without any true is NaN in some kernels, and NaN times 0 is NaN in the backward."""
    model, rows = shared(family)
    found = masks.attention_masks(rows.segments, model.config, rows.inputs.get("token_type_ids"))
    assert bool((rows.segments.segment == OUTSIDE).any()), "there is padding"
    for mask in found.values() if isinstance(found, dict) else [found]:
        assert bool((mask == 0).any(-1).all())


def test_cell_by_cell():
    """Gemma3 has windows and picture blocks."""
    model, rows = shared("gemma3")
    types = rows.inputs["token_type_ids"]
    found = masks.attention_masks(rows.segments, model.config, types)
    window = model.config.text_config.sliding_window
    segments, columns = rows.segments.segment, rows.segments.column
    for row in range(len(segments)):
        for query in range(segments.shape[1]):
            for key in range(segments.shape[1]):
                of, whose = int(segments[row, query]), int(segments[row, key])
                together = bool((types[row, min(query, key) : max(query, key) + 1] == 1).all())
                sees = key <= query and of != OUTSIDE and whose in (PREFIX, of)
                near = int(columns[row, query] - columns[row, key]) < window
                itself = query == key
                for kind, windowed in (("full_attention", False), ("sliding_attention", True)):
                    expected = (sees and (near or not windowed)) or together or itself
                    assert bool(found[kind][row, 0, query, key] == 0) == expected, (kind, row, query, key)


def test_token_types_of_models_whose_use_of_them_is_not_known():
    kinds = torch.tensor([[0, 0, 1, 1]])
    masks.check_token_types(kinds, "gemma3")
    masks.check_token_types(torch.zeros_like(kinds), "qwen2_vl")
    masks.check_token_types(None, "qwen2_vl")
    with pytest.raises(prompts.CannotShareError, match="token_type_ids of qwen2_vl models"):
        masks.check_token_types(kinds, "qwen2_vl")


@pytest.mark.parametrize("name", [SHARED_PREFIX, PADDING_FREE])
def test_rows_with_such_types_are_left_as_they_are(name):
    model = make(FAMILIES["qwen2"]())
    batch = pairs(model, [[], []])
    batch["token_type_ids"] = torch.ones_like(batch["input_ids"])
    prepared = Forward({name}).prepare(batch, model)
    assert prepared.reasons == {name: "token_type_ids of qwen2 models"} and prepared.layout.segments is None
