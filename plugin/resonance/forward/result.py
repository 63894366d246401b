# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Per-token log-probabilities of the responses of a batch, and the sums and means that losses are made of.

Pure functions of tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TokenLogps:
    """What one model call says about the responses of a batch of R rows of L tokens.

    `values`: (R, L-1) float32, log-probability of token t+1 of each row in column t; 0 where `mask` is false.
    `mask`: (R, L-1) bool, true where token t+1 is part of a response.
    `mean_logits`: (R,) float32, detached: mean logit over vocabulary and response positions of each row.
    """

    values: torch.Tensor
    mask: torch.Tensor
    mean_logits: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        """Response tokens a row, (R,)."""
        return self.mask.sum(-1)


def sums(tokens: TokenLogps) -> torch.Tensor:
    """Log-probability of each response, (R,)."""
    return (tokens.values * tokens.mask).sum(-1)


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
