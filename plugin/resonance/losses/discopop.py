# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DiscoPOP."""

import torch
import torch.nn.functional as F

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2406.08414", ranges={"beta": POSITIVE, "discopop_tau": POSITIVE})
def discopop(pairs: Pairs, *, beta: float = 0.1, discopop_tau: float = 0.05) -> LossOutput:
    """DiscoPOP: a blend of logistic and exponential loss that a language model discovered.

    Formula, with x = beta * ((lp_w - lp_l) - (ref_w - ref_l)) and s = sigmoid(x / discopop_tau):

        L = -(1 - s) * logsigmoid(x) + s * exp(-x)

    With discopop_tau <= 1 the loss is finite for every finite x; above 1 the true value itself grows like
    exp(|x| * (1 - 1 / discopop_tau)) and overflows to inf, never to NaN.

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "discopop".

    Args:
        discopop_tau: temperature of the blend; the paper uses 0.05.
    """
    x = beta * pairs.logits
    # equation 5, the log-ratio modulated loss
    logistic = -torch.sigmoid(-x / discopop_tau) * F.logsigmoid(x)
    # s * exp(-x): as written 0 * inf = NaN for very negative x, where its true value goes to 0
    exponential = torch.exp(F.logsigmoid(x / discopop_tau) - x)
    return reference_output(pairs, logistic + exponential, beta)
