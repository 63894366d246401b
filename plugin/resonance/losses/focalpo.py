# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FocalPO."""

import torch
import torch.nn.functional as F

from ..spec import NON_NEGATIVE, POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2501.06645", ranges={"beta": POSITIVE, "focalpo_gamma": NON_NEGATIVE})
def focalpo(pairs: Pairs, *, beta: float = 0.1, focalpo_gamma: float = 0.05) -> LossOutput:
    """FocalPO: DPO that counts pairs the more, the better the policy ranks them already; the opposite of focal loss.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and p = sigmoid(beta * D):

        L = -p ** focalpo_gamma * log(p)

    Gradient flows through the factor.

    Compared with: numbers worked by hand; the authors' repository holds no code.

    Args:
        focalpo_gamma: exponent of the factor; the paper uses 0.05, and 0 is DPO.

    Stats: focalpo_factor, p ** focalpo_gamma.
    """
    log_p = F.logsigmoid(beta * pairs.logits)
    factor = torch.exp(focalpo_gamma * log_p)  # the power through the logarithm: no 0 * inf where p underflows
    return reference_output(pairs, -factor * log_p, beta, focalpo_factor=factor)
