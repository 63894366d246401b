# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""CPO."""

from ..spec import NON_NEGATIVE, POSITIVE, UP_TO_HALF
from .dpo import smoothed_logistic
from .spec import LossOutput, Pairs, declare, policy_output


@declare(
    paper="arXiv:2401.08417",
    needs_reference=False,
    ranges={"beta": POSITIVE, "cpo_alpha": NON_NEGATIVE, "label_smoothing": UP_TO_HALF},
)
def cpo(pairs: Pairs, *, beta: float = 0.1, cpo_alpha: float = 1.0, label_smoothing: float = 0.0) -> LossOutput:
    """CPO: DPO with a uniform reference, which needs no model, plus the SFT loss of the chosen response.

    Formula, with m = lp_w - lp_l and e = label_smoothing:

        L = -(1 - e) * logsigmoid(beta * m) - e * logsigmoid(-beta * m) - cpo_alpha * lp_w / |y_w|

    trl averages the last term over the tokens of a micro-batch, here each response counts the same, as in RPO.

    Compared with: trl 0.24.0, CPOTrainer.cpo_loss, and its NLL of a single pair.

    Args:
        cpo_alpha: weight of the SFT loss. 0 beside means of log-probs and beta 2 or more is SimPO without a margin.
        label_smoothing: the chance that a label is flipped.

    Stats: nll, the term added to the loss.
    """
    nll = -cpo_alpha * pairs.chosen_mean
    losses = smoothed_logistic(beta * pairs.pi_logratios, label_smoothing) + nll  # the paper's prefer and NLL terms
    return policy_output(pairs, losses, beta, nll=nll)
