# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""SLiC's hinge."""

import torch

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2305.10425", ranges={"beta": POSITIVE})
def hinge(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """SLiC hinge on the difference of implicit rewards: pairs beyond the margin give no gradient.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l):

        L = max(0, 1 - beta * D)

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "hinge".

    Args:
        beta: the reciprocal of the margin in nats.
    """
    # normalised by the reference as in RSO, arXiv:2309.06657, equation 9
    return reference_output(pairs, torch.relu(1 - beta * pairs.logits), beta)
