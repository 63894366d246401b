# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""AOT, paired and unpaired."""

from ..spec import POSITIVE, UP_TO_HALF
from .dpo import smoothed_logistic
from .spec import LossOutput, Pairs, declare, reference_output

RANGES = {"beta": POSITIVE, "label_smoothing": UP_TO_HALF}


@declare(paper="arXiv:2406.05882", ranges=RANGES, per_pair=False)
def aot(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """AOT for paired data: the policy's margins should dominate the reference's, quantile by quantile.

    Formula, with m = lp_w - lp_l, r = ref_w - ref_l, sort over the batch and e = label_smoothing:

        D = sort(m) - sort(r);  L = -(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D)

    Losses come in the sorted order, rewards in the order of the pairs. The sort sees one micro-batch: with one pair a
    device this is DPO.

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "aot".
    """
    # the paper's paired loss: the same quantiles of both margins are compared
    delta = pairs.pi_logratios.sort().values - pairs.ref_logratios.sort().values
    return reference_output(pairs, smoothed_logistic(beta * delta, label_smoothing), beta)


@declare(paper="arXiv:2406.05882", ranges=RANGES, per_pair=False)
def aot_unpaired(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """AOT for unpaired data: chosen rewards should dominate rejected rewards, quantile by quantile.

    Formula, with c = lp_w - ref_w, l = lp_l - ref_l, sort over the batch and e = label_smoothing:

        D = sort(c) - sort(l);  L = -(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D)

    Losses come in the sorted order, rewards in the order of the pairs. The sort sees one micro-batch: with one pair a
    device this is DPO.

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "aot_pair", as trl calls the unpaired form.
    """
    # the paper's unpaired loss: the same quantiles of both rewards are compared
    delta = pairs.chosen_logratios.sort().values - pairs.rejected_logratios.sort().values
    return reference_output(pairs, smoothed_logistic(beta * delta, label_smoothing), beta)
