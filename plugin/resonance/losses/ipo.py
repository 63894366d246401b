# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""IPO."""

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2310.12036", logps="mean", logps_fixed=True, ranges={"beta": POSITIVE})
def ipo(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """IPO: pulls the margin to a finite target, so that it cannot grow without end.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) on means over response tokens:

        L = (D - 1 / (2 * beta)) ** 2

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "ipo".

    Args:
        beta: the paper's tau; the target margin is 1 / (2 * beta) nats a token.
    """
    return reference_output(pairs, (pairs.logits - 1 / (2 * beta)) ** 2, beta)  # equation 17
