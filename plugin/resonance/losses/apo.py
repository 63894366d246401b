# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Anchored preference optimisation, zero and down."""

import torch

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2408.06266", ranges={"beta": POSITIVE})
def apo_zero(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """APO-zero: raises the chosen and lowers the rejected response, each by itself.

    For data whose chosen responses are better than the model's own. Formula, with c = lp_w - ref_w, l = lp_l - ref_l:

        L = 1 - sigmoid(beta * c) + sigmoid(beta * l)

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "apo_zero".
    """
    # equation 7, 1 - sigmoid(x) = sigmoid(-x)
    losses = torch.sigmoid(-beta * pairs.chosen_logratios) + torch.sigmoid(beta * pairs.rejected_logratios)
    return reference_output(pairs, losses, beta)


@declare(paper="arXiv:2408.06266", ranges={"beta": POSITIVE})
def apo_down(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """APO-down: lowers the chosen response, and the rejected one further.

    For data whose chosen responses are worse than the model's own. Formula, with c = lp_w - ref_w, l = lp_l - ref_l:

        L = sigmoid(beta * c) + 1 - sigmoid(beta * (c - l))

    Compared with: trl 0.24.0, DPOTrainer.dpo_loss, "apo_down".
    """
    chosen, rejected = pairs.chosen_logratios, pairs.rejected_logratios
    # equation 8
    losses = torch.sigmoid(beta * chosen) + torch.sigmoid(-beta * (chosen - rejected))
    return reference_output(pairs, losses, beta)
