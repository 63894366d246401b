# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Robust DPO."""

import torch.nn.functional as F

from ..spec import POSITIVE, Range
from .spec import LossOutput, Pairs, declare, reference_output

FLIP_RATE = Range(low=0.0, high=0.5, high_open=True, note="at 0.5 labels carry nothing and the estimate divides by 0")


@declare(paper="arXiv:2403.00409", ranges={"beta": POSITIVE, "label_smoothing": FLIP_RATE})
def robust(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.1) -> LossOutput:
    """Robust DPO: an unbiased estimate of the DPO loss under labels flipped at a known rate; it may be negative.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and e = label_smoothing:

        L = (-(1 - e) * logsigmoid(beta * D) + e * logsigmoid(-beta * D)) / (1 - 2 * e)

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "robust".

    Args:
        label_smoothing: the rate of flipped labels; 0 is DPO.
    """
    x = beta * pairs.logits
    kept, flipped = -F.logsigmoid(x), -F.logsigmoid(-x)
    # the paper's estimate: its mean over labels flipped at that rate is the loss of the true labels
    losses = ((1 - label_smoothing) * kept - label_smoothing * flipped) / (1 - 2 * label_smoothing)
    return reference_output(pairs, losses, beta)
