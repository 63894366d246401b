# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DPO-Positive."""

import torch
import torch.nn.functional as F

from ..spec import NON_NEGATIVE, POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2402.13228", ranges={"beta": POSITIVE, "dpop_lambda": NON_NEGATIVE})
def dpop(pairs: Pairs, *, beta: float = 0.1, dpop_lambda: float = 50.0) -> LossOutput:
    """DPO-Positive (Smaug): DPO with a penalty when the chosen response falls below the reference.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l):

        L = -logsigmoid(beta * (D - dpop_lambda * max(0, ref_w - lp_w)))

    Compared with: numbers worked by hand; trl 0.24.0 has no such loss.

    Args:
        dpop_lambda: weight of the penalty, inside beta; the paper uses 50, and 0 is DPO.

    Stats: dpop_penalty = max(0, ref_w - lp_w) in nats.
    """
    penalty = torch.relu(-pairs.chosen_logratios)
    losses = -F.logsigmoid(beta * (pairs.logits - dpop_lambda * penalty))  # equation 3
    return reference_output(pairs, losses, beta, dpop_penalty=penalty)
