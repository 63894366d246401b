# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""SAPO: a soft gate in place of the clip."""

from __future__ import annotations

import torch

from ..spec import POSITIVE
from .spec import TokenLosses, Tokens, declare_policy_loss


@declare_policy_loss(paper="arXiv:2511.20347", ranges={"tau_pos": POSITIVE, "tau_neg": POSITIVE})
def sapo(batch: Tokens, *, tau_pos: float = 1.0, tau_neg: float = 1.05) -> TokenLosses:
    """SAPO: the further the ratio is from 1, the less a token weighs, smoothly on both sides.

    Formula, with rho = pi / pi_old of the token, and tau = tau_pos where A > 0, tau_neg elsewhere:

        L = -A * sigmoid(tau * (rho - 1)) * 4 / tau

    At rho 1 the gradient is that of the plain ratio. The paper's mean is `seq-mean-token-mean`.

    Compared with: verl 0.9.1, core_algos.compute_policy_loss_sapo.

    Args:
        batch: log-probs in nats, advantages and mask, (B, T).
        tau_pos, tau_neg: how fast the weight falls; the larger one for negative advantages, which move the
            probabilities of all other tokens.

    Returns:
        Losses (B, T) in units of the advantage.

    Raises:
        ValueError: through `policy_loss`, shapes that differ or a value out of range.
    """
    # full_like, because where() makes float32 of two plain numbers
    pos, neg = torch.full_like(batch.logps, tau_pos), torch.full_like(batch.logps, tau_neg)
    tau = torch.where(batch.advantages > 0, pos, neg)
    return TokenLosses(-batch.advantages * torch.sigmoid(tau * (batch.ratio - 1)) * 4 / tau)
