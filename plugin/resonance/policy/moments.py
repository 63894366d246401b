# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Moments of the values of a batch that add up over ranks, and what is scaled with them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .tensors import masked, precise


def masked_moments(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Count, sum and sum of squares of the values inside a mask.

    Moments of several ranks or batches add up: all-reduce the sum of this tensor before `masked_whiten`.

    Args:
        x: (B, T), any values outside the mask.
        mask: (B, T).

    Returns:
        (3,) in float64 (float32 on MPS, which has no float64), detached.

    Raises:
        ValueError: `x` and `mask` are not of one shape (B, T).
    """
    inside, x = masked(mask, x=x.detach())
    x = x.to(torch.float32 if x.device.type == "mps" else torch.float64)
    return torch.stack([inside.sum().to(x.dtype), x.sum(), x.square().sum()])


def mean_and_variance(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and the unbiased variance of moments (3,); the variance of fewer than two values is 0."""
    count, total, squares = moments.unbind()
    mean = total / count.clamp(min=1)
    # A sum of squares less a square may end below 0 by rounding, where all values are equal.
    variance = (squares - total * mean).clamp(min=0) / (count - 1).clamp(min=1)
    return mean, variance


def masked_whiten(
    x: torch.Tensor, mask: torch.Tensor, moments: torch.Tensor | None = None, *, shift_mean: bool = True
) -> torch.Tensor:
    """Scale the values inside a mask to variance 1 and, with `shift_mean`, mean 0.

    Formula, with the mean m and the unbiased variance v over all tokens: (x - m) / sqrt(v + 1e-8), plus m again
    without `shift_mean`.

    Args:
        x: (B, T).
        mask: (B, T).
        moments: (3,), the sum of `masked_moments` over all ranks; None takes those of `x`.
        shift_mean: False keeps the mean, as LlamaFactory's `ppo_whiten_rewards` does.

    Returns:
        (B, T), 0 outside the mask.

    Raises:
        ValueError: other shapes, or only one token in all, which whitening would always turn into 0.
    """
    inside, x = masked(mask, x=x)
    moments = masked_moments(x, mask) if moments is None else moments
    if moments[0] == 1:
        raise ValueError("Whitening needs at least two tokens in the batch, got one; switch it off: whiten=False.")
    mean, variance = (value.to(x.dtype) for value in mean_and_variance(moments))
    white = (x - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(inside, white if shift_mean else white + mean, 0.0)


def explained_variance(
    values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, moments: torch.Tensor | None = None
) -> torch.Tensor:
    """How much of the variance of the returns the critic predicts: 1 is all, 0 as much as their mean, below 0 less.

    Formula: 1 - Var(returns - values) / Var(returns), over all tokens; 0 where the returns do not vary.

    Args:
        values, returns: (B, T).
        mask: (B, T).
        moments: (2, 3), the sum over ranks of `value_moments`; None takes this batch alone.

    Returns:
        A scalar, detached.

    Raises:
        ValueError: other shapes.
    """
    moments = value_moments(values, returns, mask) if moments is None else moments
    (_, residual), (_, total) = (mean_and_variance(each) for each in moments.unbind())
    return torch.where(total > 0, 1 - residual / torch.where(total > 0, total, 1.0), 0.0)


def value_moments(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`masked_moments` of returns - values and of returns, (2, 3), which add up over ranks."""
    inside, values, returns = masked(mask, values=values.detach(), returns=returns.detach())
    return torch.stack([masked_moments(returns - values, inside), masked_moments(returns, inside)])


class RunningMoments:
    """The moments of all scores seen so far, to scale new ones by (LlamaFactory's `ppo_score_norm`)."""

    def __init__(self) -> None:
        self.moments = torch.zeros(3, dtype=torch.float64)

    def update(self, moments: torch.Tensor) -> None:
        """Add `masked_moments` of a batch, summed over ranks. ValueError for another shape than (3,)."""
        if tuple(moments.shape) != (3,):
            raise ValueError(f"moments must have the shape (3,), got {tuple(moments.shape)}.")
        self.moments = self.moments.to(moments) + moments

    def normalise(self, scores: torch.Tensor) -> torch.Tensor:
        """(scores - mean) / (standard deviation + epsilon of the dtype), in the shape of `scores`."""
        scores = scores.to(precise(scores))
        mean, variance = (value.to(scores) for value in mean_and_variance(self.moments))
        return (scores - mean) / (variance.sqrt() + torch.finfo(scores.dtype).eps)

    def state_dict(self) -> dict[str, list[float]]:
        """Plain numbers, for a checkpoint."""
        return {"moments": self.moments.tolist()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Continue from `state_dict()`. ValueError when it is no such state."""
        if set(state) != {"moments"} or len(state["moments"]) != 3:
            raise ValueError(f"Not the state of running moments: {dict(state)!r}; expected 'moments', three numbers.")
        self.moments = torch.tensor(state["moments"], dtype=torch.float64)
