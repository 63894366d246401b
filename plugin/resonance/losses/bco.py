# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""BCO on pairs."""

import torch
import torch.nn.functional as F

from ..spec import POSITIVE, Range
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2404.04656", baseline=True, ranges={"beta": POSITIVE, "delta": Range(tensor=True)})
def bco_pair(pairs: Pairs, *, beta: float = 0.1, delta: float | torch.Tensor = 0.0) -> LossOutput:
    """BCO on pairs: a binary classifier whose logit is the reward above a running baseline.

    Formula, with c = beta * (lp_w - ref_w), l = beta * (lp_l - ref_l):

        L = -logsigmoid(c - delta) - logsigmoid(-(l - delta))

    Compared with: trl 0.24.0 and 0.9.4, DPOTrainer.dpo_loss, "bco_pair".

    Args:
        delta: the baseline, a number or a one-element tensor, in units of reward: the running mean, over batches seen
            so far and this one, of the mean reward of chosen and rejected responses (`RunningMean`). No gradient.
    """
    if isinstance(delta, torch.Tensor):
        delta = delta.detach()
    chosen, rejected = beta * pairs.chosen_logratios, beta * pairs.rejected_logratios
    # the paper's loss with its reward shift: chosen is class 1, rejected class 0
    return reference_output(pairs, -F.logsigmoid(chosen - delta) - F.logsigmoid(-(rejected - delta)), beta)
