# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""KTO: on answers that are good or bad each by itself, and on pairs."""

from collections.abc import Callable

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


def kto_unpaired(
    logratios: torch.Tensor,
    kl: torch.Tensor,
    desirable: torch.Tensor,
    *,
    beta: float = 0.1,
    chosen_weight: float = 1.0,
    rejected_weight: float = 1.0,
) -> torch.Tensor:
    """KTO itself (arXiv:2402.01306, equation 7): one loss an answer, (B,); `stage: kto`, so it is not in `table.py`.

    Formula, with r = lp - ref of the answer, and z of `kto_kl`:

        L = chosen_weight * (1 - sigmoid(beta * (r - z)))      of a desirable answer
        L = rejected_weight * (1 - sigmoid(beta * (z - r)))    of an undesirable one

    Compared with: trl 0.24.0, KTOTrainer.kto_loss, which LlamaFactory 0.9.5 calls.

    Args:
        logratios: (B,) of the answers, log-probability under the policy - that under the reference.
        kl: z, a scalar without gradient.
        desirable: (B,) 1 for desirable, 0 for undesirable answers.
        beta: > 0; how far the policy may go from the reference.
        chosen_weight: of desirable answers.
        rejected_weight: of undesirable ones.
    """
    good = desirable > 0
    sign = torch.where(good, 1.0, -1.0).to(logratios.dtype)
    weight = torch.where(good, chosen_weight, rejected_weight).to(logratios.dtype)
    return weight * torch.sigmoid(-beta * sign * (logratios - kl))  # 1 - sigmoid(x) = sigmoid(-x)


def kto_kl(logratios: torch.Tensor, add_ranks: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """KTO's z: the mean of the log-ratios of a batch on all ranks, at least 0, without gradient; a scalar.

    It estimates KL(policy || reference) on answers that were given to other prompts.

    Args:
        logratios: (B,) of such answers; B may be 0 on some ranks.
        add_ranks: the sum of a tensor over all ranks.
    """
    parts = torch.stack([logratios.detach().sum(), logratios.new_tensor(float(len(logratios)))])
    total, count = add_ranks(parts)
    return (total / count).clamp(min=0)
