# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""GSPO: the ratio of the sequence."""

from __future__ import annotations

import torch

from ..spec import NON_NEGATIVE
from .ppo import clipped_surrogate
from .spec import MAX_LOG_RATIO, UP_TO_ONE, TokenLosses, Tokens, declare_policy_loss

RANGES = {"clip_low": UP_TO_ONE, "clip_high": NON_NEGATIVE}


@declare_policy_loss(paper="arXiv:2507.18071", ranges=RANGES)
def gspo(batch: Tokens, *, clip_low: float = 3e-4, clip_high: float = 4e-4) -> TokenLosses:
    """GSPO: all tokens of a sequence share one ratio, the geometric mean of theirs, and are clipped together.

    Formula, with T_i the tokens of sequence i:

        s_i  = (pi(y_i) / pi_old(y_i)) ** (1 / T_i) = exp(mean_t (logps - old_logps))
        L_it = max(-A_it * s_i, -A_it * clip(s_i, 1 - clip_low, 1 + clip_high))

    The paper's mean is `seq-mean-token-mean`. The gradient goes through s_i, so each token gets that of the whole
    sequence; where all tokens of a sequence have one advantage that equals `gspo_token`.

    Compared with: verl 0.9.1, core_algos.compute_policy_loss_gspo.

    Args:
        batch: log-probs in nats, advantages and mask, (B, T).
        clip_low, clip_high: how far s_i may move from 1; far smaller than PPO's, as a mean moves less than a token.

    Returns:
        Losses (B, T) in units of the advantage. Stats: clip_ratio/low, clip_ratio/high, clip_ratio/region.

    Raises:
        ValueError: through `policy_loss`, shapes that differ or a value out of range.
    """
    ratio = _sequence_log_ratio(batch).exp().expand_as(batch.logps)  # equation 7
    return clipped_surrogate(ratio, batch.advantages, clip_low, clip_high)


@declare_policy_loss(paper="arXiv:2507.18071", ranges=RANGES)
def gspo_token(batch: Tokens, *, clip_low: float = 3e-4, clip_high: float = 4e-4) -> TokenLosses:
    """GSPO-token: GSPO's ratio and clip, with the gradient and the advantage of each token its own.

    Formula, with sg the stopped gradient and s_i as in `gspo`:

        s_it = sg(s_i) * pi(y_it) / sg(pi(y_it))
        L_it = max(-A_it * s_it, -A_it * clip(s_it, 1 - clip_low, 1 + clip_high))

    Compared with: verl 0.9.1, core_algos.compute_policy_loss_gspo, which is of this form.

    Args:
        batch: log-probs in nats, advantages and mask, (B, T).
        clip_low, clip_high: how far s_i may move from 1.

    Returns:
        Losses (B, T) in units of the advantage. Stats: clip_ratio/low, clip_ratio/high, clip_ratio/region.

    Raises:
        ValueError: through `policy_loss`, shapes that differ or a value out of range.
    """
    own = batch.logps - batch.logps.detach()  # 0, with the gradient of the token
    ratio = (_sequence_log_ratio(batch).detach() + own).exp()  # equation 14
    return clipped_surrogate(ratio, batch.advantages, clip_low, clip_high)


def _sequence_log_ratio(batch: Tokens) -> torch.Tensor:
    """log s_i, (B, 1), held within MAX_LOG_RATIO."""
    mean = (batch.logps - batch.old_logps).sum(1, keepdim=True) / batch.lengths
    return mean.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
