# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Generalised advantage estimation."""

from __future__ import annotations

import torch

from .moments import masked_whiten
from .rollout import Rollout
from .spec import DISCOUNT, declare_advantage


@declare_advantage(paper="arXiv:1506.02438", ranges={"gamma": DISCOUNT, "lam": DISCOUNT})
def gae(
    rollout: Rollout, *, gamma: float = 1.0, lam: float = 0.95, whiten: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """GAE, PPO's advantages: what came after a token, less what the critic expected.

    Formula, with t' the next token of the row that is in the mask, and V = A = 0 after its last:

        delta_t = r_t + gamma * V_t' - V_t
        A_t     = delta_t + gamma * lam * A_t'
        R_t     = A_t + V_t

    Tokens outside the mask are no steps of the policy: a hole of tool tokens is jumped over, costs no discount, and
    what is in it is not read. The advantages are whitened after the returns were taken.

    Compared with: verl 0.9.1, core_algos.compute_gae_advantage_return.

    Args:
        rollout: rewards (B, T), in units of reward, and values (B, T) of the same unit.
        gamma: discount a token.
        lam: 1 trusts the rewards alone, 0 the critic's next value alone.
        whiten: False leaves the advantages in units of reward, for `masked_whiten` with the moments of all ranks.

    Returns:
        Advantages and returns, (B, T), 0 outside the mask.

    Raises:
        ValueError: no values; with `whiten` only one token in all.
    """
    rewards, values, mask = rollout.token_rewards, rollout.critic, rollout.mask
    advantages = torch.zeros_like(rewards)
    following = next_value = rewards.new_zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(mask[:, t], delta + gamma * lam * following, following)  # equation 16
        next_value = torch.where(mask[:, t], values[:, t], next_value)
        advantages[:, t] = following
    advantages = torch.where(mask, advantages, 0.0)
    returns = advantages + values
    return (masked_whiten(advantages, mask) if whiten else advantages), returns
