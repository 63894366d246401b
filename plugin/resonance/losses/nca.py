# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""NCA on pairs."""

import torch.nn.functional as F

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2402.05369", ranges={"beta": POSITIVE})
def nca_pair(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """NCA on pairs: noise contrastive alignment, which holds the chosen response's absolute likelihood up.

    Formula, with c = beta * (lp_w - ref_w), l = beta * (lp_l - ref_l):

        L = -logsigmoid(c) - logsigmoid(-c) / 2 - logsigmoid(-l) / 2

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "nca_pair".
    """
    chosen, rejected = beta * pairs.chosen_logratios, beta * pairs.rejected_logratios
    # the paper's loss for two responses: one positive, and both as noise
    losses = -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)
    return reference_output(pairs, losses, beta)
