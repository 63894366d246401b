# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From a value a token to one number a batch: the means, over the global batch.

A mean over a micro-batch is another loss than the mean over the batch: a token of a micro-batch with few tokens would
count for more. So sums are divided by counts of the **global** batch (all ranks, all accumulated micro-batches), which
the caller adds up once and passes in; the losses of the micro-batches then add up to the loss of the batch, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..spec import nearest_first
from .tensors import masked

Count = torch.Tensor | float


def counts(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens, and the sequences with a token, of a mask (B, T): scalars to sum over ranks and micro-batches."""
    inside = mask.bool()
    return inside.sum(), inside.any(1).sum()


@dataclass(frozen=True)
class Aggregation:
    """A mean, and the counts of the global batch that it divides by.

    With x (B, T), T_i the tokens of sequence i, N the tokens and S the sequences (with a token) of the global batch:

        token-mean               sum_i sum_t x_it / N
        seq-mean-token-mean      sum_i (sum_t x_it / T_i) / S
        seq-mean-token-sum       sum_i sum_t x_it / S
        seq-mean-token-sum-norm  sum_i sum_t x_it / (S * horizon)

    Papers: token-mean is DAPO's (arXiv:2503.14476), seq-mean-token-mean GRPO's (arXiv:2402.03300), the last
    Dr. GRPO's (arXiv:2503.20783).

    Where a wrapper averages gradients over ranks (DDP, DeepSpeed), pass the counts divided by the number of ranks: a
    mean of R losses, each R times too large, is their sum.

    Attributes:
        mode: one of the four.
        tokens, sequences: N and S, both or neither; None counts the batch at hand.
        horizon: the length that Dr. GRPO divides by, a constant of the run (max_new_tokens); None takes the width T of
            the batch at hand, which must not be where the batch is one of several.
    """

    mode: str
    tokens: Count | None = None
    sequences: Count | None = None
    horizon: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in AGGREGATIONS:
            raise ValueError(f"Unknown aggregation {self.mode!r} ({nearest_first(str(self.mode), AGGREGATIONS)}).")
        if (self.tokens is None) != (self.sequences is None):
            raise ValueError("Give both counts of the global batch, tokens and sequences; statistics are over tokens.")
        if self.horizon is not None and not self.horizon > 0:
            raise ValueError(f"horizon={self.horizon!r} is not allowed, it must be a number of tokens > 0.")
        if self.mode == "seq-mean-token-sum-norm" and self.horizon is None and self.sequences is not None:
            raise ValueError(
                "seq-mean-token-sum-norm over several batches needs horizon, e.g. max_new_tokens: their widths differ."
            )

    def __call__(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The scalar of `x` (B, T); 0 with zero gradients for a batch without a token. ValueError for other shapes."""
        inside, x = masked(mask, x=x)
        return AGGREGATIONS[self.mode](self, x, inside)

    def token_mean(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The mean over the tokens of the global batch, detached, whatever the mode: for statistics."""
        inside, x = masked(mask, x=x.detach())
        return _token_mean(self, x, inside)

    def _tokens(self, mask: torch.Tensor) -> Count:
        return mask.sum() if self.tokens is None else self.tokens

    def _sequences(self, mask: torch.Tensor) -> Count:
        return mask.any(1).sum() if self.sequences is None else self.sequences


def _over(total: torch.Tensor, count: Count) -> torch.Tensor:
    """`total` / `count`; 0 where nothing was counted, as `total` is 0 then."""
    count = torch.as_tensor(count, dtype=total.dtype)
    return total / torch.where(count > 0, count, 1.0)


def _token_mean(how: Aggregation, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _over(x.sum(), how._tokens(mask))


def _sequence_mean_of_means(how: Aggregation, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _over((x.sum(1) / mask.sum(1).clamp(min=1)).sum(), how._sequences(mask))


def _sequence_mean_of_sums(how: Aggregation, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _over(x.sum(), how._sequences(mask))


def _sequence_mean_over_horizon(how: Aggregation, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _sequence_mean_of_sums(how, x, mask) / max(how.horizon or mask.shape[1], 1)


AGGREGATIONS: dict[str, Callable[[Aggregation, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "token-mean": _token_mean,
    "seq-mean-token-mean": _sequence_mean_of_means,
    "seq-mean-token-sum": _sequence_mean_of_sums,
    "seq-mean-token-sum-norm": _sequence_mean_over_horizon,
}


def aggregation_of(how: str | Aggregation) -> Aggregation:
    """`how` as an Aggregation; a name counts the batch at hand. ValueError for an unknown name."""
    return how if isinstance(how, Aggregation) else Aggregation(how)


def aggregate(x: torch.Tensor, mask: torch.Tensor, mode: str | Aggregation) -> torch.Tensor:
    """One number of a value a token.

    Args:
        x: (B, T), any values outside the mask.
        mask: (B, T), 1 on the tokens that count.
        mode: one of AGGREGATIONS, for a mean over this batch alone, or an Aggregation with the global counts.

    Returns:
        A scalar with the gradient of `x`; 0 when no token counts.

    Raises:
        ValueError: unknown mode (the nearest first), or `x` and `mask` are not of one shape (B, T).
    """
    return aggregation_of(mode)(x, mask)
