# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""beta-DPO."""

import torch.nn.functional as F

from ..spec import POSITIVE, Range
from .spec import LossOutput, Pairs, declare, reference_output

SHARE = Range(low=0.0, high=1.0, high_open=True)
LOWEST_BETA = 1e-3  # of the authors' code


@declare(
    paper="arXiv:2407.08639",
    needs_ranks=True,
    ranges={"beta": POSITIVE, "beta_dpo_a": Range(), "beta_dpo_drop": SHARE},
)
def beta_dpo(pairs: Pairs, *, beta: float = 0.1, beta_dpo_a: float = 0.6, beta_dpo_drop: float = 0.2) -> LossOutput:
    """beta-DPO: DPO whose beta follows the margins of the batch, on pairs whose margins are not far from usual.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l), A the D of all ranks without a gradient, M and S their running
    mean and standard deviation (x <- 0.9 * x + 0.1 * batch, from 0):

        A' = int((1 - beta_dpo_drop) * N) of the A, drawn with weights exp(-((A - M) / S) ** 2 / 2)
        L  = -1[drawn] * logsigmoid(max(0.001, beta * (1 + beta_dpo_a * (mean(A') - M))) * D)

    Losses of drawn pairs are divided by the share of this micro-batch that was drawn, so that their mean is the mean
    over drawn pairs. In an evaluation every pair is drawn.

    Compared with: the authors' code, trainers.preference_loss (repository junkangwu/beta-DPO, 1629047).

    Args:
        beta_dpo_a: slope of beta; the authors' command uses 0.6.
        beta_dpo_drop: the share of the pairs that is left out.

    Stats: beta_dpo_beta, the same for all pairs of a batch, and beta_dpo_drawn.
    """
    margins = pairs.margins
    kept = margins.kept(margins.standardized(), beta_dpo_drop)
    moved = (margins.values * kept).sum() / kept.sum() - margins.mean.to(kept.dtype)
    scale = (beta * (1 + beta_dpo_a * moved)).clamp(min=LOWEST_BETA).expand_as(pairs.logits)
    drawn = kept[margins.own]
    # the mean of these is the authors' sum over drawn pairs, divided by their number, or by 1 if there is none
    share = drawn / drawn.sum().clamp(min=1) * len(drawn)
    losses = -share * F.logsigmoid(scale * pairs.logits)
    return reference_output(pairs, losses, beta, beta_dpo_beta=scale, beta_dpo_drawn=drawn)
