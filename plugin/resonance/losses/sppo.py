# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""SPPO with hard labels."""

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2405.00675", ranges={"beta": POSITIVE})
def sppo_hard(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """SPPO with hard labels: regresses each response's log-ratio to plus or minus a target.

    Formula, with c = lp_w - ref_w, l = lp_l - ref_l:

        L = (c - 1 / (2 * beta)) ** 2 + (l + 1 / (2 * beta)) ** 2

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "sppo_hard".

    Args:
        beta: the reciprocal of the paper's eta.
    """
    target = 1 / (2 * beta)
    # equation 4.7 with win probability 1 for the chosen and 0 for the rejected response
    losses = (pairs.chosen_logratios - target) ** 2 + (pairs.rejected_logratios + target) ** 2
    return reference_output(pairs, losses, beta)
