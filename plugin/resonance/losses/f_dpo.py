# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""f-DPO: other divergences from the reference than the reverse KL of DPO."""

import math

import torch
import torch.nn.functional as F

from ..spec import POSITIVE, UP_TO_HALF, Range
from .dpo import smoothed_logistic
from .spec import LossOutput, Pairs, declare, reference_output

ALPHA = Range(low=0.0, high=1.0, low_open=True, note="near 0 it is DPO")


@declare(paper="arXiv:2309.16240", ranges={"beta": POSITIVE, "label_smoothing": UP_TO_HALF})
def f_dpo_js(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """f-DPO with the Jensen-Shannon divergence, whose reward of a response is bounded above.

    Formula, with c = lp_w - ref_w, l = lp_l - ref_l and e = label_smoothing:

        x = beta * (logsigmoid(c) - logsigmoid(l))
        L = -(1 - e) * logsigmoid(x) - e * logsigmoid(-x)

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, `f_divergence_type: js_divergence`.

    Args:
        label_smoothing: the chance that a label is flipped.
    """
    # f'(u) = log(2 * u / (1 + u)), u = exp(c)
    x = F.logsigmoid(pairs.chosen_logratios) - F.logsigmoid(pairs.rejected_logratios)
    return reference_output(pairs, smoothed_logistic(beta * x, label_smoothing), beta)


@declare(paper="arXiv:2309.16240", ranges={"beta": POSITIVE, "f_alpha": ALPHA, "label_smoothing": UP_TO_HALF})
def f_dpo_alpha(pairs: Pairs, *, beta: float = 0.1, f_alpha: float = 0.5, label_smoothing: float = 0.0) -> LossOutput:
    """f-DPO with an alpha divergence; with alpha 1 the forward KL divergence.

    Formula, with c = lp_w - ref_w, l = lp_l - ref_l, a = f_alpha and e = label_smoothing:

        x = beta * (exp(-a * l) - exp(-a * c)) / a
        L = -(1 - e) * logsigmoid(x) - e * logsigmoid(-x)

    Exponents are held below what the type of the log-probs can hold; beyond it they have no gradient.

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, `f_divergence_type: alpha_divergence`.

    Args:
        f_alpha: the divergence; the paper tries 0.3, 0.5 and 0.7.
        label_smoothing: the chance that a label is flipped.
    """
    highest = math.log(torch.finfo(pairs.policy_chosen_logps.dtype).max * f_alpha / (4 * max(1.0, beta)))
    chosen, rejected = (
        torch.exp((-f_alpha * ratios).clamp(max=highest))
        for ratios in (pairs.chosen_logratios, pairs.rejected_logratios)
    )
    x = (rejected - chosen) / f_alpha  # f'(u) = (1 - u ** -a) / a
    return reference_output(pairs, smoothed_logistic(beta * x, label_smoothing), beta)
