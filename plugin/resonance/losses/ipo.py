# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""IPO."""

from .ranges import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2310.12036", logps="mean", logps_fixed=True, ranges={"beta": POSITIVE})
def ipo(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """IPO: pulls the margin to a finite target, so that it cannot grow without end.

    Paper: arXiv:2310.12036, equation 17, beta being the paper's tau.
    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) on means over response tokens:

        L = (D - 1 / (2 * beta)) ** 2

    Args:
        pairs: policy and reference log-probs, all (B,), means over response tokens.
        beta: > 0; the target margin is 1 / (2 * beta) nats a token.

    Returns:
        losses (B,), rewards beta * (lp - ref).

    Raises:
        ValueError: no reference in `pairs`; through `preference_loss` also any value out of range.
    """
    return reference_output(pairs, (pairs.logits - 1 / (2 * beta)) ** 2, beta)
