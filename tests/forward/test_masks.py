# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Masks of shared rows, cell by cell."""

from __future__ import annotations

import pytest

from forward.tiny import FAMILIES, make, pairs, picture
from resonance.forward import layout, masks
from resonance.forward.call import media_tokens

PREFIX, FIRST, SECOND, OUTSIDE = layout.PREFIX, 1, 2, layout.OUTSIDE


@pytest.fixture(scope="module")
def rows():
    """Shared rows of Gemma3, which has windows and picture blocks, one of them shorter than the other."""
    model = make(FAMILIES["gemma3"]())
    batch = pairs(model, [[picture(model, 0), picture(model, 1)], []])
    return model, layout.shared(batch, 2, media_tokens(model.config))


def test_everybody_sees_somebody(rows):
    """A row of a mask without any true is NaN in some kernels, and NaN times 0 is NaN in the backward."""
    model, shared = rows
    found = masks.attention_masks(shared.segments, model.config, shared.inputs["token_type_ids"])
    assert bool((shared.segments.segment == OUTSIDE).any()), "there is padding"
    for mask in found.values():
        assert bool(mask.any(-1).all())


def test_cell_by_cell(rows):
    model, shared = rows
    found = masks.attention_masks(shared.segments, model.config, shared.inputs["token_type_ids"])
    window = model.config.text_config.sliding_window
    segments, columns = shared.segments.segment, shared.segments.column
    types = shared.inputs["token_type_ids"]
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
                    assert bool(found[kind][row, 0, query, key]) == expected, (kind, row, query, key)
