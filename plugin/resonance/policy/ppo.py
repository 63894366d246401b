# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""PPO's clipped surrogate, at the token."""

from __future__ import annotations

import torch

from ..spec import NON_NEGATIVE
from .spec import UP_TO_ONE, OrNone, TokenLosses, Tokens, declare_policy_loss

ABOVE_ONE = OrNone(low=1.0, low_open=True)


def clipped_surrogate(ratio: torch.Tensor, advantages: torch.Tensor, clip_low: float, clip_high: float) -> TokenLosses:
    """max(-A * rho, -A * clip(rho, 1 - clip_low, 1 + clip_high)), (B, T), and where the clip is in force.

    The gradient is 0 where the ratio has left the range on the side that the advantage pushes it to.
    """
    losses = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_low, 1 + clip_high))
    low = (ratio < 1 - clip_low) & (advantages < 0)
    high = (ratio > 1 + clip_high) & (advantages > 0)
    return TokenLosses(losses, {"clip_ratio/low": low, "clip_ratio/high": high, "clip_ratio/region": low | high})


@declare_policy_loss(
    paper="arXiv:1707.06347",
    ranges={"clip_low": UP_TO_ONE, "clip_high": NON_NEGATIVE, "dual_clip": ABOVE_ONE},
)
def ppo_clip(
    batch: Tokens, *, clip_low: float = 0.2, clip_high: float = 0.2, dual_clip: float | None = None
) -> TokenLosses:
    """PPO: the ratio times the advantage, clipped where the policy has moved far enough. GRPO's and DAPO's too.

    Formula, with rho = pi / pi_old of the token:

        L = max(-A * rho, -A * clip(rho, 1 - clip_low, 1 + clip_high))
        L = min(L, -A * dual_clip)                                        where A < 0, with dual_clip

    Two bounds are DAPO's (arXiv:2503.14476, equation 10), the dual clip is that of arXiv:1912.09729.

    Compared with: verl 0.9.1, core_algos.compute_policy_loss_vanilla.

    Args:
        batch: log-probs in nats, advantages and mask, (B, T).
        clip_low: how far the ratio may fall below 1 while the advantage pushes it down.
        clip_high: how far it may rise above 1 while the advantage pushes it up.
        dual_clip: the largest ratio that counts where the advantage is negative, which PPO leaves without a bound;
            verl has 3. None is PPO's own.

    Returns:
        Losses (B, T) in units of the advantage. Stats, 1 where it holds: clip_ratio/low, clip_ratio/high,
        clip_ratio/region (either), with dual_clip clip_ratio/dual.

    Raises:
        ValueError: through `policy_loss`, shapes that differ or a value out of range.
    """
    output = clipped_surrogate(batch.ratio, batch.advantages, clip_low, clip_high)  # equation 7
    if dual_clip is None:
        return output
    bound = -batch.advantages * dual_clip
    beyond = (batch.advantages < 0) & (output.losses > bound)
    return TokenLosses(torch.where(beyond, bound, output.losses), output.stats | {"clip_ratio/dual": beyond})
