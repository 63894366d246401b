# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""ODPO."""

import torch.nn.functional as F

from ..spec import NON_NEGATIVE, POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2402.10571", needs_margin=True, ranges={"beta": POSITIVE, "odpo_alpha": NON_NEGATIVE})
def odpo(pairs: Pairs, *, beta: float = 0.1, odpo_alpha: float = 1.0) -> LossOutput:
    """ODPO: DPO with an offset; the rewards of a pair have to be as far apart as the data says.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l) and the column `margin` of the data:

        L = -logsigmoid(beta * D - odpo_alpha * margin)

    The paper's margin is log(S_w - S_l), or another increasing function of the scores.

    Compared with: numbers worked by hand.

    Args:
        odpo_alpha: factor of the margins; the paper uses 0.5 to 1, and 0 is DPO.
    """
    (margin,) = pairs.need("margin")
    offset = odpo_alpha * margin.to(pairs.policy_chosen_logps.dtype)
    return reference_output(pairs, -F.logsigmoid(beta * pairs.logits - offset), beta)
