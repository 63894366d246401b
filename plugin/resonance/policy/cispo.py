# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""CISPO: clipped weights, and a gradient from every token."""

from __future__ import annotations

from ..spec import NON_NEGATIVE
from .spec import UP_TO_ONE, TokenLosses, Tokens, declare_policy_loss


@declare_policy_loss(paper="arXiv:2506.13585", ranges={"clip_low": UP_TO_ONE, "clip_high": NON_NEGATIVE})
def cispo(batch: Tokens, *, clip_low: float = 1.0, clip_high: float = 4.0) -> TokenLosses:
    """CISPO: REINFORCE with the clipped ratio as a weight; no token loses its gradient, as clipped ones do in PPO.

    Formula, with rho = pi / pi_old of the token and sg the stopped gradient:

        L = -sg(clip(rho, 1 - clip_low, 1 + clip_high)) * A * logps

    The paper's mean is `token-mean`. It sets no lower bound, which is clip_low 1, and does not publish its upper one:
    clip_high 4 caps the weight at 5, as ScaleRL does (arXiv:2510.13786).

    Compared with: verl 0.9.1, core_algos.compute_policy_loss_cispo.

    Args:
        batch: log-probs in nats, advantages and mask, (B, T).
        clip_low: the weight is 1 - clip_low at least.
        clip_high: the weight is 1 + clip_high at most.

    Returns:
        Losses (B, T) in units of the advantage times nats; the value itself means nothing, the gradient does.
        Stats, 1 where the weight was cut: clip_ratio/low, clip_ratio/high, clip_ratio/region (either).

    Raises:
        ValueError: through `policy_loss`, shapes that differ or a value out of range.
    """
    ratio = batch.ratio.detach()
    losses = -ratio.clamp(1 - clip_low, 1 + clip_high) * batch.advantages * batch.logps  # equations 4 and 5
    low, high = ratio < 1 - clip_low, ratio > 1 + clip_high
    return TokenLosses(losses, {"clip_ratio/low": low, "clip_ratio/high": high, "clip_ratio/region": low | high})
