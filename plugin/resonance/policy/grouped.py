# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Advantages that compare the completions of one prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..spec import NON_NEGATIVE
from .moments import masked_whiten
from .rollout import Rollout
from .spec import declare_advantage

Advantages = tuple[torch.Tensor, None]


@declare_advantage(paper="arXiv:2402.03300", ranges={"eps": NON_NEGATIVE})
def grpo(rollout: Rollout, *, scale_by_std: bool = True, eps: float = 1e-6) -> Advantages:
    """GRPO: how much better a completion is than its group, in standard deviations of the group.

    Outcome supervision, section 4.1.2. Formula, with R_i the sum of the rewards of completion i, and mean and unbiased
    std over its group:

        A_it = (R_i - mean) / (std + eps)

    Compared with: verl 0.9.1, core_algos.compute_grpo_outcome_advantage.

    Args:
        rollout: rewards (B, T) and groups (B,) of at least two.
        scale_by_std: False divides by 1, as Dr. GRPO does.
        eps: in units of reward; verl has 1e-6, TRL 1e-4. A group of equal rewards gets exactly 0 anyway.

    Returns:
        Advantages (B, T), 0 outside the mask, and no returns.

    Raises:
        ValueError: no groups, or a group of one.
    """
    stats = rollout.groups.statistics(rollout.scores, rollout.scored)
    return rollout.over_tokens(_scaled(stats.deviation, stats.std, eps) if scale_by_std else stats.deviation), None


@declare_advantage(paper="arXiv:2503.20783")
def dr_grpo(rollout: Rollout) -> Advantages:
    """Dr. GRPO: GRPO without the division by the standard deviation, which favours very easy and very hard prompts.

    The paper's loss is aggregated by `seq-mean-token-sum-norm`. Formula, with R_i the sum of the rewards of completion
    i, and the mean over its group:

        A_it = R_i - mean

    Compared with: verl 0.9.1, core_algos.compute_grpo_outcome_advantage without norm_adv_by_std_in_grpo.

    Args:
        rollout: rewards (B, T) and groups (B,) of at least two.

    Returns:
        Advantages (B, T) in units of reward, 0 outside the mask, and no returns.

    Raises:
        ValueError: no groups, or a group of one.
    """
    return rollout.over_tokens(rollout.groups.statistics(rollout.scores, rollout.scored).deviation), None


@declare_advantage(paper="arXiv:2402.14740")
def rloo(rollout: Rollout) -> Advantages:
    """RLOO: REINFORCE with the mean of the other completions of the prompt as its baseline.

    Formula, with R_i the sum of the rewards of completion i, and the mean over the other k - 1 of its group:

        A_it = R_i - mean_{j != i} R_j  =  (R_i - mean) * k / (k - 1)

    Compared with: verl 0.9.1, core_algos.compute_rloo_outcome_advantage.

    Args:
        rollout: rewards (B, T) and groups (B,) of at least two.

    Returns:
        Advantages (B, T) in units of reward, 0 outside the mask, and no returns.

    Raises:
        ValueError: no groups, or a group of one.
    """
    stats = rollout.groups.statistics(rollout.scores, rollout.scored)
    return rollout.over_tokens(stats.deviation * stats.number / (stats.number - 1).clamp(min=1)), None


@declare_advantage(paper="arXiv:2601.05242", parts=True, ranges={"eps": NON_NEGATIVE})
def gdpo(
    rollout: Rollout, *, weights: Sequence[float] | None = None, eps: float = 1e-6, whiten: bool = True
) -> Advantages:
    """GDPO: each of several rewards is compared within the group on its own, so that a large one hides no other.

    Formula, with R_ik the sum of reward k of completion i, and mean_k and unbiased std_k over its group:

        A_it = whiten(sum_k w_k * (R_ik - mean_k) / (std_k + eps))

    A reward that is NaN is left out for that completion, and takes no part in mean_k and std_k.

    Compared with: verl 0.9.1, core_algos.compute_gdpo_outcome_advantage.

    Args:
        rollout: rewards (B, T, n), or (B, T) for one, and groups (B,) of at least two.
        weights: n numbers w_k; None weighs all alike.
        eps: in units of reward.
        whiten: False skips the last step, for `masked_whiten` with the moments of all ranks.

    Returns:
        Advantages (B, T), 0 outside the mask, and no returns.

    Raises:
        ValueError: no groups, a group of one, another number of weights than of rewards; with `whiten` only one token
            in all.
    """
    parts = rollout.scores if rollout.scores.ndim == 2 else rollout.scores[:, None]
    weights = [1.0] * parts.shape[1] if weights is None else weights
    if len(weights) != parts.shape[1]:
        raise ValueError(f"has {len(weights)} weights for {parts.shape[1]} rewards; give one a reward, in their order")
    total = torch.zeros_like(parts[:, 0])
    for part, weight in zip(parts.unbind(1), weights, strict=True):
        stats = rollout.groups.statistics(part, rollout.scored & ~part.isnan())
        total = total + weight * _scaled(stats.deviation, stats.std, eps)
    advantages = rollout.over_tokens(total)
    return (masked_whiten(advantages, rollout.mask) if whiten else advantages), None


def _scaled(deviation: torch.Tensor, std: torch.Tensor, eps: float) -> torch.Tensor:
    """deviation / (std + eps); 0 where the deviation is 0, also with eps 0."""
    return torch.where(deviation == 0, 0.0, deviation / (std + eps))
