# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""SLiC's hinge."""

import torch

from .ranges import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2305.10425", ranges={"beta": POSITIVE})
def hinge(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """SLiC hinge on the difference of implicit rewards: pairs beyond the margin give no gradient.

    Paper: arXiv:2305.10425; in this normalised form RSO, arXiv:2309.06657, equation 9.
    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l):

        L = max(0, 1 - beta * D)

    Args:
        pairs: policy and reference log-probs, all (B,), sums over response tokens.
        beta: > 0, the reciprocal of the margin in nats.

    Returns:
        losses (B,), rewards beta * (lp - ref).

    Raises:
        ValueError: no reference in `pairs`; through `preference_loss` also any value out of range.
    """
    return reference_output(pairs, torch.relu(1 - beta * pairs.logits), beta)
