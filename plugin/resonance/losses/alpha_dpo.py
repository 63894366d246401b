# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""alpha-DPO."""

from ..spec import NON_NEGATIVE, POSITIVE, UP_TO_HALF
from .dpo import smoothed_logistic
from .margins import standardize
from .spec import LossOutput, Pairs, declare, reference_output


@declare(
    paper="arXiv:2410.10148",
    logps="mean",
    needs_ranks=True,
    ranges={
        "beta": POSITIVE,
        "alpha_dpo_alpha": NON_NEGATIVE,
        "gamma_beta_ratio": NON_NEGATIVE,
        "label_smoothing": UP_TO_HALF,
    },
)
def alpha_dpo(
    pairs: Pairs,
    *,
    beta: float = 0.1,
    alpha_dpo_alpha: float = 0.2,
    gamma_beta_ratio: float = 0.4,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """alpha-DPO: SimPO whose target margin grows with how far the policy has moved from the reference on the pair.

    Formula, with m = lp_w - lp_l, D = m - (ref_w - ref_l), M and S the running mean and standard deviation of D on all
    ranks (x <- 0.9 * x + 0.1 * batch, from 0), z without a gradient and e = label_smoothing:

        z = gamma_beta_ratio + alpha_dpo_alpha * (D - M) / S
        L = -(1 - e) * logsigmoid(beta * (m - z)) - e * logsigmoid(-beta * (m - z))

    Where S is 0, as while policy and reference are the same model, (D - M) / S counts as 0.

    Compared with: the authors' code, AlphaDPOTrainer.dpo_loss, "alpha-dpo" (repository junkangwu/alpha-DPO, fab3209).

    Args:
        beta: scale of the margin; the authors' recipes use 2.5 to 10.
        alpha_dpo_alpha: 0 is SimPO; the authors' recipes use 0.05 to 0.2.
        gamma_beta_ratio: target margin in nats a token; the authors' recipes use 0.15 to 0.6.

    Stats: alpha_dpo_target, z.
    """
    margins = pairs.margins
    moved = standardize(pairs.logits.detach(), margins.mean, margins.std)
    target = gamma_beta_ratio + alpha_dpo_alpha * moved
    losses = smoothed_logistic(beta * (pairs.pi_logratios - target), label_smoothing)
    return reference_output(pairs, losses, beta, alpha_dpo_target=target)
