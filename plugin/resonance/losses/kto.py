# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""KTO on pairs."""

import torch

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2402.01306", ranges={"beta": POSITIVE})
def kto_pair(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """KTO on pairs: each response is judged against the batch's estimate of the KL divergence.

    The paired form of trl up to 0.9.4, where the KL of one side is estimated on the other.
    Formula, with c = lp_w - ref_w, l = lp_l - ref_l, KL_w = max(0, mean_B(c)), KL_l = max(0, mean_B(l)):

        L = ((1 - sigmoid(beta * (c - KL_l))) + (1 - sigmoid(beta * (KL_w - l)))) / 2

    trl returns the two halves one after the other, 2B losses; here a pair gets the mean of its two, so that the mean
    over B pairs equals trl's mean over 2B. As there, gradient flows through both KL terms, so a pair's gradient
    depends on the whole batch, and a batch of one estimates its KL from a single response.

    Losses are between 0 and 1.

    Compared with: trl 0.9.4 and 0.8.6, DPOTrainer.dpo_loss, "kto_pair".
    """
    chosen, rejected = pairs.chosen_logratios, pairs.rejected_logratios
    chosen_kl = chosen.mean().clamp(min=0)
    rejected_kl = rejected.mean().clamp(min=0)
    # 1 minus the paper's value function, with weights of 1; 1 - sigmoid(x) = sigmoid(-x)
    chosen_losses = torch.sigmoid(-beta * (chosen - rejected_kl))
    rejected_losses = torch.sigmoid(-beta * (chosen_kl - rejected))
    return reference_output(pairs, 0.5 * (chosen_losses + rejected_losses), beta)
