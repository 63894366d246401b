# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Robust DPO."""

import torch.nn.functional as F

from .ranges import POSITIVE, Range
from .spec import LossOutput, Pairs, declare, reference_output

FLIP_RATE = Range(low=0.0, high=0.5, high_open=True, note="at 0.5 labels carry nothing and the estimate divides by 0")


@declare(paper="arXiv:2403.00409", ranges={"beta": POSITIVE, "label_smoothing": FLIP_RATE})
def robust(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.1) -> LossOutput:
    """Robust DPO: an unbiased estimate of the DPO loss under labels flipped at a known rate.

    Paper: arXiv:2403.00409. Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and e = label_smoothing:

        L = (-(1 - e) * logsigmoid(beta * D) + e * logsigmoid(-beta * D)) / (1 - 2 * e)

    Args:
        pairs: policy and reference log-probs, all (B,), sums over response tokens.
        beta: > 0, inverse temperature.
        label_smoothing: 0 <= e < 0.5, the rate of flipped labels; 0 is DPO.

    Returns:
        losses (B,), which may be negative, rewards beta * (lp - ref).

    Raises:
        ValueError: no reference in `pairs`; through `preference_loss` also any value out of range.
    """
    x = beta * pairs.logits
    kept, flipped = -F.logsigmoid(x), -F.logsigmoid(-x)
    losses = ((1 - label_smoothing) * kept - label_smoothing * flipped) / (1 - 2 * label_smoothing)
    return reference_output(pairs, losses, beta)
