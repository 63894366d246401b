# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""SimPO."""

import torch.nn.functional as F

from ..spec import NON_NEGATIVE, POSITIVE
from .spec import LossOutput, Pairs, declare, policy_output


@declare(
    paper="arXiv:2405.14734",
    needs_reference=False,
    logps="mean",
    logps_fixed=True,
    ranges={"beta": POSITIVE, "simpo_gamma": NON_NEGATIVE},
)
def simpo(pairs: Pairs, *, beta: float = 0.1, simpo_gamma: float = 0.5) -> LossOutput:
    """SimPO: logistic loss on mean log-probs with a target margin; no reference model.

    Formula, with lp = mean log-prob a token:

        L = -logsigmoid(beta * (lp_w - lp_l) - simpo_gamma)

    Compared with: LlamaFactory 0.9.5, CustomDPOTrainer.simpo_loss.

    Args:
        beta: scale of the reward; the paper uses 2.0 to 10.
        simpo_gamma: the target reward margin, not divided by beta.
    """
    return policy_output(pairs, -F.logsigmoid(beta * pairs.pi_logratios - simpo_gamma), beta)  # equation 6
