# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""WPO."""

import torch

from ..spec import POSITIVE, UP_TO_HALF
from .dpo import smoothed_logistic
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2406.11827", needs_on_policy=True, ranges={"beta": POSITIVE, "label_smoothing": UP_TO_HALF})
def wpo(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """WPO: DPO that counts a pair the more, the likelier the policy itself would write both responses.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l), p_t the policy's probabilities at token t, w without a gradient
    and e = label_smoothing:

        o(y) = mean over tokens of log(p_t(y_t) / sum_v p_t(v) ** 2)
        w = min(1, exp(o(y_w) + o(y_l)))
        L = w * (-(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D))

    Compared with: the authors' code, WPOTrainer (repository wzhouad/WPO, a104458), and trl 0.24.0, `use_weighting`.

    Args:
        label_smoothing: the chance that a label is flipped.

    Stats: wpo_weight, w.
    """
    chosen, rejected = pairs.need("chosen_on_policy", "rejected_on_policy")
    # equation 2, aligned to the most likely token by the sum of squares; at most 1 as in the authors' code
    weight = torch.exp((chosen + rejected).detach()).clamp(max=1).to(pairs.policy_chosen_logps.dtype)
    losses = weight * smoothed_logistic(beta * pairs.logits, label_smoothing)
    return reference_output(pairs, losses, beta, wpo_weight=weight)
