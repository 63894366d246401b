# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""EXO on pairs."""

import math

import torch
import torch.nn.functional as F

from ..spec import POSITIVE, Range
from .spec import LossOutput, Pairs, declare, reference_output

SOFT_LABEL = Range(low=0.0, high=0.5, low_open=True, high_open=True, note="the paper uses 1e-3")


@declare(paper="arXiv:2402.00856", ranges={"beta": POSITIVE, "label_smoothing": SOFT_LABEL})
def exo_pair(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 1e-3) -> LossOutput:
    """EXO on pairs: the reverse KL divergence from the policy's preference to a softened label.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l), p = sigmoid(beta * D) and e = label_smoothing:

        L = p * (log p - log(1 - e)) + (1 - p) * (log(1 - p) - log e)

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "exo_pair".

    Args:
        label_smoothing: the softened label. With 0 the divergence is infinite.
    """
    x = beta * pairs.logits
    # equation 16, term by term
    chosen = torch.sigmoid(x) * (F.logsigmoid(x) - math.log1p(-label_smoothing))
    rejected = torch.sigmoid(-x) * (F.logsigmoid(-x) - math.log(label_smoothing))
    return reference_output(pairs, chosen + rejected, beta)
