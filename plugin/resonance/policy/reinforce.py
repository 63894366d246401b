# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""REINFORCE++: no critic, and whitening over the whole batch."""

from __future__ import annotations

import torch

from .moments import masked_whiten
from .rollout import Rollout
from .spec import DISCOUNT, declare_advantage


@declare_advantage(paper="arXiv:2501.03262", ranges={"gamma": DISCOUNT})
def reinforce_plus_plus(
    rollout: Rollout, *, gamma: float = 1.0, whiten: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """REINFORCE++: the discounted sum of the rewards from a token on, whitened over the batch.

    The paper's KL penalty is one of the token rewards. Formula, with t' the next token of the row that is in the mask,
    and G = 0 after its last:

        G_t = r_t + gamma * G_t'
        A_t = whiten(G_t)

    Tokens outside the mask are no steps: a hole of tool tokens costs no discount, and what is in it is not read.

    Compared with: verl 0.9.1, core_algos.compute_reinforce_plus_plus_outcome_advantage.

    Args:
        rollout: rewards (B, T).
        gamma: discount a token.
        whiten: False leaves A = G, for `masked_whiten` with the moments of all ranks.

    Returns:
        Advantages and the returns G in units of reward, (B, T), 0 outside the mask.

    Raises:
        ValueError: with `whiten` only one token in all.
    """
    rewards, mask = rollout.token_rewards, rollout.mask
    returns = torch.zeros_like(rewards)
    following = rewards.new_zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        following = torch.where(mask[:, t], rewards[:, t] + gamma * following, following)
        returns[:, t] = following
    returns = torch.where(mask, returns, 0.0)
    return (masked_whiten(returns, mask) if whiten else returns), returns


@declare_advantage(paper="arXiv:2501.03262")
def reinforce_plus_plus_baseline(rollout: Rollout, *, whiten: bool = True) -> tuple[torch.Tensor, None]:
    """REINFORCE++ with the mean of the group as its baseline: centred in the group, scaled over the batch.

    Formula, with R_i the sum of the rewards of completion i, and the mean over its group:

        A_it = whiten(R_i - mean)

    Compared with: verl 0.9.1, core_algos.compute_reinforce_plus_plus_baseline_outcome_advantage.

    Args:
        rollout: rewards (B, T) and groups (B,) of at least two.
        whiten: False leaves R_i - mean, for `masked_whiten` with the moments of all ranks.

    Returns:
        Advantages (B, T), 0 outside the mask, and no returns.

    Raises:
        ValueError: no groups, a group of one; with `whiten` only one token in all.
    """
    stats = rollout.groups.statistics(rollout.scores, rollout.scored)
    advantages = rollout.over_tokens(stats.deviation)
    return (masked_whiten(advantages, rollout.mask) if whiten else advantages), None
