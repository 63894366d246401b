# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""NCA on pairs."""

import torch.nn.functional as F

from .ranges import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2402.05369", ranges={"beta": POSITIVE})
def nca_pair(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """NCA on pairs: noise contrastive alignment, which holds the chosen response's absolute likelihood up.

    Paper: arXiv:2402.05369. Formula, with c = beta * (lp_w - ref_w), l = beta * (lp_l - ref_l):

        L = -logsigmoid(c) - logsigmoid(-c) / 2 - logsigmoid(-l) / 2

    Args:
        pairs: policy and reference log-probs, all (B,), sums over response tokens.
        beta: > 0, inverse temperature.

    Returns:
        losses (B,), rewards beta * (lp - ref).

    Raises:
        ValueError: no reference in `pairs`; through `preference_loss` also any value out of range.
    """
    chosen, rejected = beta * pairs.chosen_logratios, beta * pairs.rejected_logratios
    losses = -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)
    return reference_output(pairs, losses, beta)
