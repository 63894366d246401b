# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Completions of one prompt, for the model of `small_step.py`."""

from __future__ import annotations

from typing import Any

from .small_step import PATCH


def make_group(model: Any, vocabulary: int, members: int, responses: int) -> dict[str, Any]:
    """A prompt with a picture and `members` completions of it, uneven, of `responses` tokens on average."""
    import torch

    generator = torch.Generator().manual_seed(7)
    uneven = (0.5, 1.5, 1.0, 0.7, 1.3, 0.9, 1.1, 1.0)
    visual, side = 256, 32
    ends = [round(responses * uneven[i % len(uneven)]) for i in range(members)]

    def text(count: int) -> torch.Tensor:
        return torch.randint(100, vocabulary, (count,), generator=generator)

    prompt = torch.cat([text(4), torch.tensor([12]), torch.full((visual,), 10), torch.tensor([13]), text(64)])
    rows = [torch.cat([prompt, text(end)]) for end in ends]
    ids = torch.nn.utils.rnn.pad_sequence(rows, True, 2)
    column = torch.arange(ids.shape[1])
    mask = (column < torch.tensor([len(row) for row in rows])[:, None]).long()
    labels = torch.where((mask == 1) & (column >= len(prompt)), ids, -100)
    grid = torch.tensor([(1, side, side)] * members)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    kinds = (ids == 10).int()
    positions, deltas = base.model.get_rope_index(
        ids, image_grid_thw=grid, mm_token_type_ids=kinds, attention_mask=mask
    )
    batch = dict(input_ids=ids, attention_mask=mask, labels=labels, image_grid_thw=grid, rope_deltas=deltas)
    batch["pixel_values"] = torch.randn(side * side, PATCH, generator=generator).repeat(members, 1)
    batch["position_ids"] = torch.cat([positions[:1], positions])
    return batch
