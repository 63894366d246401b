# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""MM-DPO, as in its paper and as its code was released: two different losses."""

import torch
import torch.nn.functional as F

from ..spec import NON_NEGATIVE, POSITIVE, Range
from .margins import deviation
from .spec import LossOutput, Pairs, declare, reference_output

LOWEST_BETA = 1e-3  # of the released code
DROP = 0.2  # likewise


@declare(
    paper="arXiv:2502.10391",
    needs_scores=True,
    ranges={"beta": POSITIVE, "mm_dpo_w": NON_NEGATIVE, "mm_dpo_k": NON_NEGATIVE},
)
def mm_dpo(pairs: Pairs, *, beta: float = 0.1, mm_dpo_w: float = 0.5, mm_dpo_k: float = 0.5) -> LossOutput:
    """MM-DPO as in the paper: DPO whose beta grows with the difference of the scores, up to a bound.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and d = max(0, S_w - S_l):

        L = -logsigmoid(beta * (1 + mm_dpo_w * (1 - exp(-mm_dpo_k * d))) * D)

    A pair whose scores contradict it counts as one of equal scores, so that beta stays between beta and
    (1 + mm_dpo_w) * beta. The paper adds an SFT loss: `pref_loss: [mm_dpo, sft]`.

    Compared with: numbers worked by hand; the released code computes another loss, `mm_dpo_released`.

    Args:
        mm_dpo_w: the most that beta grows by; the paper uses 0.5.
        mm_dpo_k: how fast it grows, a unit of score; the paper uses 0.5.

    Stats: mm_dpo_beta, the beta of each pair.
    """
    grown = 1 - torch.exp(-mm_dpo_k * pairs.score_margin.clamp(min=0))
    scale = beta * (1 + mm_dpo_w * grown)  # the paper's dynamic reward scaling
    return reference_output(pairs, -F.logsigmoid(scale * pairs.logits), beta, mm_dpo_beta=scale)


@declare(paper="arXiv:2502.10391", needs_ranks=True, ranges={"beta": POSITIVE, "ls_factor_weight": Range()})
def mm_dpo_released(pairs: Pairs, *, beta: float = 0.1, ls_factor_weight: float = 0.1) -> LossOutput:
    """MM-DPO as its code was released: DPO whose beta follows the margins of the batch; it reads no scores.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and A the D of all ranks, without a gradient:

        A' = int(0.8 * N) of the A, drawn with weights exp(-((A - mean(A)) / std(A)) ** 2 / 2)
        L  = -logsigmoid(max(0.001, beta * (1 + ls_factor_weight * (mean(A') - mean(A)))) * D)

    In an evaluation every pair is drawn. The released script adds 0.25 of an SFT loss: `pref_loss: [mm_dpo_released,
    sft]` with `pref_loss_weights: [1.0, 0.25]`.

    Compared with: the authors' code, DPOTrainer.dpo_loss (repository Kwai-YuanQi/MM-RLHF, 7c8af1d).

    Args:
        ls_factor_weight: slope of beta; the released script uses 0.1.

    Stats: mm_dpo_beta, the same for all pairs of a batch.
    """
    margins = pairs.margins
    mean = margins.values.mean()
    kept = margins.kept((margins.values - mean) / (deviation(margins.values) + 1e-7), DROP)
    moved = (margins.values * kept).sum() / kept.sum() - mean
    scale = (beta * (1 + ls_factor_weight * moved)).clamp(min=LOWEST_BETA).expand_as(pairs.logits)
    return reference_output(pairs, -F.logsigmoid(scale * pairs.logits), beta, mm_dpo_beta=scale)
