# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What was read of each response token of a batch, and the sums and means that losses are made of.

Pure functions of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .head import Readings
from .layout import Layout


@dataclass(frozen=True)
class TokenLogps:
    """What one model call read about the responses of a batch of K*B rows of L tokens.

    Attributes:
        columns: by name, (K*B, L-1) each, (K*B, L-1, k) of `topk_logps` and `topk_ids`: of token t+1 of each row in
            column t; 0 where `mask` is false. `readers.py` has the names.
        mask: (K*B, L-1) bool, true where token t+1 is part of a response.
        continuations: K.
    """

    columns: Mapping[str, torch.Tensor]
    mask: torch.Tensor
    continuations: int

    @property
    def values(self) -> torch.Tensor:
        """Log-probability of each response token, (K*B, L-1)."""
        return self.columns["logp"]

    @property
    def mean_logits(self) -> torch.Tensor:
        """Mean logit over vocabulary and response positions of each continuation, (K,), detached."""
        total, count = (part.view(self.continuations, -1).sum(1) for part in (self.columns["mean_logit"], self.mask))
        return total / count.clamp(min=1)

    @property
    def lengths(self) -> torch.Tensor:
        """Response tokens a row, (K*B,)."""
        return self.mask.sum(-1)


def collect(readings: Readings, layout: Layout) -> TokenLogps:
    """Put what was read of the N response tokens into the columns of the batch."""
    size = layout.shape[0] * layout.shape[1]
    columns = {}
    for name, found in readings.items():
        empty = found.new_zeros(size, *found.shape[1:])
        columns[name] = empty.index_copy(0, layout.owners, found).view(*layout.shape, *found.shape[1:])
    mask = torch.zeros(size, dtype=torch.bool, device=layout.owners.device).index_fill_(0, layout.owners, True)
    return TokenLogps(columns, mask.view(layout.shape), layout.continuations)


def sums(tokens: TokenLogps) -> torch.Tensor:
    """Log-probability of each response, (K*B,)."""
    return (tokens.values * tokens.mask).sum(-1)


def length_desensitized_sums(tokens: TokenLogps, alpha: float) -> torch.Tensor:
    """LD-DPO (arXiv:2409.06411): tokens beyond the shortest response to a prompt count `alpha`, others 1. (K*B,)."""
    shortest = tokens.lengths.view(tokens.continuations, -1).min(0).values.repeat(tokens.continuations)
    first = tokens.mask.int().argmax(1)
    column = torch.arange(tokens.mask.shape[1], device=tokens.mask.device)
    public = column < (first + shortest).unsqueeze(1)
    front = (tokens.values * (public & tokens.mask)).sum(-1)
    rear = (tokens.values * (~public & tokens.mask)).sum(-1)
    return front + alpha * rear
