# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The critic's loss, and the bonus for entropy."""

from __future__ import annotations

import torch

from .aggregate import Aggregation, aggregate, aggregation_of
from .tensors import masked


def value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    *,
    cliprange_value: float | None,
    aggregation: str | Aggregation,
) -> torch.Tensor:
    """PPO's value loss: the squared error of the critic, of its clipped prediction where that is worse.

    Paper: arXiv:2005.12729, which describes it as part of PPO's code. Formula, with V, V_old, R of a token:

        L = max((V - R)**2, (clip(V, V_old - cliprange_value, V_old + cliprange_value) - R)**2) / 2

    Compared with: verl 0.9.1, core_algos.compute_value_loss.

    Args:
        values: (B, T), of the critic that is trained, with gradient, in units of reward.
        old_values: (B, T), of the critic at the rollout; detached.
        returns: (B, T), what `advantages("gae", ...)` returned; detached.
        mask: (B, T), 1 on the tokens that the policy sampled.
        cliprange_value: > 0, in units of reward; None never clips.
        aggregation: one of AGGREGATIONS, or an Aggregation with the counts of the global batch.

    Returns:
        A scalar, in squared units of reward.

    Raises:
        ValueError: shapes that differ, an unknown aggregation, or cliprange_value out of range.
    """
    _check_cliprange(cliprange_value)
    inside, values, old, returns = masked(mask, values=values, old_values=old_values, returns=returns)
    error = (values - returns.detach()).square()
    if cliprange_value is not None:
        old = old.detach()
        near = old + (values - old).clamp(-cliprange_value, cliprange_value)
        error = torch.maximum(error, (near - returns.detach()).square())
    return aggregate(0.5 * error, inside, aggregation)


def value_clip_ratio(
    values: torch.Tensor,
    old_values: torch.Tensor,
    mask: torch.Tensor,
    *,
    cliprange_value: float,
    aggregation: str | Aggregation,
) -> torch.Tensor:
    """The share of tokens whose value has left the clip range: a scalar, detached. Arguments as `value_loss`."""
    _check_cliprange(cliprange_value)
    inside, values, old = masked(mask, values=values.detach(), old_values=old_values)
    return aggregation_of(aggregation).token_mean((values - old).abs() > cliprange_value, inside)


def entropy_bonus(
    entropy: torch.Tensor, mask: torch.Tensor, *, entropy_coef: float, aggregation: str | Aggregation
) -> torch.Tensor:
    """What to add to a policy loss so that the policy keeps exploring: -entropy_coef * mean entropy.

    Paper: arXiv:1602.01783, section 4; PPO (arXiv:1707.06347, equation 9) adds the same term.

    Args:
        entropy: (B, T), of the policy's distribution at each token, in nats, with gradient.
        mask: (B, T), 1 on the tokens that the policy sampled.
        entropy_coef: > 0 rewards entropy.
        aggregation: one of AGGREGATIONS, or an Aggregation with the counts of the global batch.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that differ, or an unknown aggregation.
    """
    return -entropy_coef * aggregate(entropy, mask, aggregation)


def _check_cliprange(cliprange_value: float | None) -> None:
    if cliprange_value is not None and not cliprange_value > 0:
        raise ValueError(f"cliprange_value={cliprange_value!r} is not allowed, it must be a number > 0, or None.")
