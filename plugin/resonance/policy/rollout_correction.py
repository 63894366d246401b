# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Weights for tokens that another engine, or older weights, sampled with other probabilities than the trainer has."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..spec import nearest_first
from .spec import MAX_LOG_RATIO
from .tensors import masked

LEVELS = ("token", "sequence")
MODES = ("truncate", "mask")


@dataclass(frozen=True)
class RolloutCorrection:
    """Importance weights of a rollout.

    Attributes:
        weights: (B, T), detached, 0 outside the mask; `policy_loss(..., weights=...)` multiplies the losses by them.
        stats: scalars of the batch at hand, so pass a whole rollout: rollout/ess, the effective sample size, 1 where
            all weights are equal; rollout/dropped, the share of tokens of weight 0; rollout/logp_diff, the mean
            absolute difference of the log-probs in nats.
    """

    weights: torch.Tensor
    stats: dict[str, torch.Tensor]


def rollout_correction(
    logps: torch.Tensor,
    rollout_logps: torch.Tensor,
    mask: torch.Tensor,
    *,
    level: str = "token",
    mode: str = "truncate",
    threshold: float = 2.0,
    threshold_low: float | None = None,
) -> RolloutCorrection:
    """Importance weights pi_old / pi_rollout, bounded.

    Sources: truncation (TIS) F. Yao et al., "Your efficient RL framework secretly brings you off-policy RL training"
    (2025); masking IcePop, the Ring-1T report of the Ling team (2025). Formula, with D_t = logps - rollout_logps:

        token     w_t = exp(D_t)
        sequence  w_t = exp(sum_t D_t), one weight a sequence
        truncate  min(w, threshold)
        mask      w where threshold_low <= w <= threshold, else 0

    A sequence's weight is unbiased and of a variance that grows with its length; tokens' are the other way round.
    Dropped tokens stay in the counts that a mean divides by.

    Compared with: verl 0.9.1, rollout_corr_helper.compute_rollout_correction_weights.

    Args:
        logps: (B, T), of the sampled tokens by the policy as it was before the update, in nats.
        rollout_logps: (B, T), as the engine that sampled gave them, at the same temperature.
        mask: (B, T), 1 on the tokens that the policy sampled.
        level: one of LEVELS.
        mode: one of MODES.
        threshold: >= 1, the largest weight.
        threshold_low: 0 to 1, for mask: the smallest weight that is kept; None is 1 / threshold.

    Raises:
        ValueError: shapes that differ, unknown names, values out of range. All names and values at once.
    """
    _check(level, mode, threshold, threshold_low)
    inside, logps, rollout_logps = masked(mask, logps=logps.detach(), rollout_logps=rollout_logps.detach())
    difference = logps - rollout_logps
    log_weight = difference if level == "token" else difference.sum(1, keepdim=True).expand_as(difference)
    weights = log_weight.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    if mode == "truncate":
        weights = weights.clamp(max=threshold)
    else:
        low = 1 / threshold if threshold_low is None else threshold_low
        weights = torch.where((weights >= low) & (weights <= threshold), weights, 0.0)
    weights = torch.where(inside, weights, 0.0)
    return RolloutCorrection(weights, _stats(weights, difference, inside))


def _check(level: str, mode: str, threshold: float, threshold_low: float | None) -> None:
    problems = [
        f"unknown {key} {given!r} ({nearest_first(str(given), allowed)})"
        for key, given, allowed in (("level", level, LEVELS), ("mode", mode, MODES))
        if given not in allowed
    ]
    if not threshold >= 1:
        problems.append(f"threshold={threshold!r} is not allowed, it must be a number >= 1")
    if threshold_low is not None and (mode != "mask" or not 0 <= threshold_low <= 1):
        problems.append(f"threshold_low={threshold_low!r} is not allowed, it must be 0 <= x <= 1, and mode 'mask'")
    if problems:
        raise ValueError(f"Rollout correction: {'; '.join(problems)}.")


def _stats(weights: torch.Tensor, difference: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    tokens = mask.sum().clamp(min=1)
    squares = weights.square().sum()
    return {
        "rollout/ess": torch.where(squares > 0, weights.sum().square() / (tokens * squares), 0.0),
        "rollout/dropped": ((weights == 0) & mask).sum() / tokens,
        "rollout/logp_diff": difference.abs().sum() / tokens,
    }
