# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Uni-DPO.

Gradient flows through w_perf, as in the authors' code. With the symbols of the docstring below, NLL term aside:

    dL/dm = -beta * w_qual * w_perf
            * (sigmoid(-beta * D) - perf_gamma * sigmoid(beta * m - tau_ref) * logsigmoid(beta * D))

Both terms push the same way; with beta 2, tau_ref 2, perf_gamma 3 the second adds 49.6% at m = r = 0.
"""

import torch
import torch.nn.functional as F

from ..spec import FINITE, NON_NEGATIVE, POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


def warmed_up(eta: float, done: int, steps: int) -> float:
    """eta * min(1, done / steps): eta of the quality weight after `done` of the `steps` of its warm-up.

    At 0 all pairs have the weight 1/2. A curriculum of ours, not of the paper.
    """
    return eta * min(1.0, done / steps)


@declare(
    paper="arXiv:2506.10054",
    needs_scores=True,
    logps="mean",
    ranges={
        "beta": POSITIVE,
        "qual_eta": NON_NEGATIVE,
        "tau_ref": FINITE,
        "perf_gamma": NON_NEGATIVE,
        "nll_lambda": NON_NEGATIVE,
        "tau_good": FINITE,
    },
)
def uni_dpo(
    pairs: Pairs,
    *,
    beta: float = 0.1,
    qual_eta: float = 0.7,
    tau_ref: float = 2.0,
    perf_gamma: float = 3.0,
    nll_lambda: float = 0.001,
    tau_good: float = 2.5,
    detach_weights: bool = False,
) -> LossOutput:
    """Uni-DPO: DPO weighted by data quality and by how well the policy already fits the pair.

    Formula, with m = lp_w - lp_l (policy only), r = ref_w - ref_l, D = m - r and scores S:

        w_qual = sigmoid(qual_eta * (S_w - S_l))
        w_perf = (1 - sigmoid(beta * m - tau_ref)) ** perf_gamma
        nll_coeffi = nll_lambda * 1[ref_w > lp_w] * 1[S_w >= tau_good]
        L = -w_qual * w_perf * logsigmoid(beta * D) - nll_coeffi * lp_w

    Compared with: the authors' multimodal code, CustomDPOTrainer.uni_dpo_loss (repository pspdada/Uni-DPO, c29535e).

    Args:
        qual_eta: slope of the quality weight a unit of score; 0 makes w_qual 1/2.
        tau_ref: the scaled policy margin at which 1 - sigmoid is 1/2.
        perf_gamma: focal exponent; 0 makes w_perf exactly 1.
        nll_lambda: weight of the calibrated NLL term.
        tau_good: the lowest score of a chosen response that gets the NLL term.
        detach_weights: True stops the gradient at w_perf, which is another method than the paper's.

    Stats: w_qual, w_perf, nll_coeffi and nll (the term added to the loss).
    """
    ref_w, score_w, score_l = pairs.need("reference_chosen_logps", "score_chosen", "score_rejected")
    lp_w = pairs.policy_chosen_logps
    w_qual = torch.sigmoid(qual_eta * (score_w - score_l)).to(lp_w.dtype)
    # 1 - sigmoid(x) = sigmoid(-x), and its power through the logarithm: no cancellation at large margins, and no
    # 0 * inf in the gradient where the sigmoid underflows and perf_gamma < 1.
    w_perf = torch.exp(perf_gamma * F.logsigmoid(tau_ref - beta * pairs.pi_logratios))
    if detach_weights:
        w_perf = w_perf.detach()

    nll_coeffi = nll_lambda * ((ref_w > lp_w) & (score_w >= tau_good)).to(lp_w.dtype)
    nll = -nll_coeffi * lp_w
    # the paper's objective: DPO under both weights, and the calibrated NLL
    losses = -w_qual * w_perf * F.logsigmoid(beta * pairs.logits) + nll
    return reference_output(pairs, losses, beta, w_qual=w_qual, w_perf=w_perf, nll_coeffi=nll_coeffi, nll=nll)
