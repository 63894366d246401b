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
    """What one model call read about the responses of a batch of R rows of L tokens.

    Attributes:
        columns: by name, (R, L-1) each, (R, L-1, k) of `topk_logps` and `topk_ids`: of token t+1 of each row in
            column t; 0 where `mask` is false. `readers.py` has the names.
        mask: (R, L-1) bool, true where token t+1 is part of a response.
    """

    columns: Mapping[str, torch.Tensor]
    mask: torch.Tensor

    @property
    def values(self) -> torch.Tensor:
        """Log-probability of each response token, (R, L-1)."""
        return self.columns["logp"]

    @property
    def lengths(self) -> torch.Tensor:
        """Response tokens a row, (R,)."""
        return self.mask.sum(-1)


def collect(readings: Readings, layout: Layout) -> TokenLogps:
    """Put what was read of the N predictions into the columns of the batch."""
    size = layout.shape[0] * layout.shape[1]
    columns = {}
    for name, found in readings.items():
        empty = found.new_zeros(size, *found.shape[1:])
        filled = empty.index_copy(0, layout.owners, layout.spread(found))
        columns[name] = filled.view(*layout.shape, *found.shape[1:])
    mask = torch.zeros(size, dtype=torch.bool, device=layout.owners.device).index_fill_(0, layout.owners, True)
    return TokenLogps(columns, mask.view(layout.shape))


def at_last(tokens: TokenLogps, column: str) -> torch.Tensor:
    """What was read for the last response token of each row, (R,)."""
    last = tokens.mask.shape[1] - 1 - tokens.mask.flip(1).int().argmax(1)
    return tokens.columns[column].gather(1, last[:, None]).squeeze(1)


def sums(tokens: TokenLogps) -> torch.Tensor:
    """Log-probability of each response, (R,)."""
    return (tokens.values * tokens.mask).sum(-1)


def on_policy(tokens: TokenLogps) -> torch.Tensor:
    """Mean over the tokens of each response of log(p_t / sum_v p_v ** 2), (R,), detached; needs `Collision`."""
    beside = tokens.values.detach() - tokens.columns["log_collision"]
    return (beside * tokens.mask).sum(-1) / tokens.lengths


def first_rows(tokens: TokenLogps, blocks: int, rows: int) -> TokenLogps:
    """The first `rows` rows of each of `blocks` equal blocks."""
    if len(tokens.mask) == blocks * rows:
        return tokens

    def first(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, (blocks, -1))[:, :rows].flatten(0, 1)

    return TokenLogps({name: first(values) for name, values in tokens.columns.items()}, first(tokens.mask))


def mean_logits(tokens: TokenLogps, blocks: int) -> torch.Tensor:
    """Mean logit over vocabulary and response positions of each of equal blocks of rows, (blocks,), detached."""
    total, count = (part.reshape(blocks, -1).sum(1) for part in (tokens.columns["mean_logit"], tokens.mask))
    return total / count.clamp(min=1)


def length_desensitized_sums(tokens: TokenLogps, alpha: float, answers: int) -> torch.Tensor:
    """LD-DPO (arXiv:2409.06411): tokens beyond the shortest response of a pair count `alpha`, others 1. (R,).

    `answers`: in how many blocks the rows are, which are compared with each other row by row.
    """
    shortest = tokens.lengths.view(answers, -1).min(0).values.repeat(answers)
    first = tokens.mask.int().argmax(1)
    column = torch.arange(tokens.mask.shape[1], device=tokens.mask.device)
    public = column < (first + shortest).unsqueeze(1)
    front = (tokens.values * (public & tokens.mask)).sum(-1)
    rear = (tokens.values * (~public & tokens.mask)).sum(-1)
    return front + alpha * rear
