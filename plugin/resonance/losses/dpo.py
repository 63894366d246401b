# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DPO and its conservative form."""

import torch
import torch.nn.functional as F

from ..spec import POSITIVE, UP_TO_HALF
from .spec import LossOutput, Pairs, declare, reference_output


def smoothed_logistic(x: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """-(1 - e) * logsigmoid(x) - e * logsigmoid(-x), the shape of x."""
    return -(1 - label_smoothing) * F.logsigmoid(x) - label_smoothing * F.logsigmoid(-x)


@declare(paper="arXiv:2305.18290", ranges={"beta": POSITIVE, "label_smoothing": UP_TO_HALF})
def sigmoid(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """DPO: logistic loss on the difference of implicit rewards; with label smoothing, conservative DPO.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and e = label_smoothing:

        L = -(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D)

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "sigmoid".

    Args:
        label_smoothing: the chance that a label is flipped.
    """
    # equation 7; with label smoothing equation 3 of the cDPO note, https://ericmitchell.ai/cdpo.pdf
    return reference_output(pairs, smoothed_logistic(beta * pairs.logits, label_smoothing), beta)


@declare(
    paper="arXiv:2305.18290",
    logps="mean",
    logps_fixed=True,
    ranges={"beta": POSITIVE, "label_smoothing": UP_TO_HALF},
)
def sigmoid_norm(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """DPO on means a token, so that long responses do not have larger rewards for being long.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) on means over response tokens and e = label_smoothing:

        L = -(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D)

    `sigmoid` with `dpo_average_log_prob: true` is the same; this is trl's name for it from 1.0 on.

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "sigmoid", on means.

    Args:
        beta: scale of the rewards, several times that of `sigmoid`, because means are smaller than sums.
        label_smoothing: the chance that a label is flipped.
    """
    return reference_output(pairs, smoothed_logistic(beta * pairs.logits, label_smoothing), beta)
