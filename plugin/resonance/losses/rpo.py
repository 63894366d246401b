# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""RPO: DPO with the likelihood of the chosen response."""

from ..spec import NON_NEGATIVE, POSITIVE, UP_TO_HALF
from .dpo import smoothed_logistic
from .spec import LossOutput, Pairs, declare, reference_output


@declare(
    paper="arXiv:2404.19733",
    ranges={"beta": POSITIVE, "rpo_alpha": NON_NEGATIVE, "label_smoothing": UP_TO_HALF},
)
def rpo(pairs: Pairs, *, beta: float = 0.1, rpo_alpha: float = 1.0, label_smoothing: float = 0.0) -> LossOutput:
    """RPO, from iterative reasoning: DPO plus the likelihood a token of the chosen response.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and e = label_smoothing:

        L = -(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D) - rpo_alpha * lp_w / |y_w|

    `sigmoid` with LlamaFactory's `pref_ftx` is the same. trl averages the last term over the tokens of a micro-batch;
    here each response counts the same, as in the paper.

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "sigmoid", and its `rpo_alpha` on a single pair.

    Args:
        rpo_alpha: weight of the likelihood; the paper uses 1.
        label_smoothing: the chance that a label is flipped.

    Stats: nll, the term added to the loss.
    """
    nll = -rpo_alpha * pairs.chosen_mean
    losses = smoothed_logistic(beta * pairs.logits, label_smoothing) + nll  # the paper's DPO+NLL
    return reference_output(pairs, losses, beta, nll=nll)
