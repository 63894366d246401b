# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is logged about a batch of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .spec import LossOutput


def pair_metrics(output: LossOutput) -> dict[str, torch.Tensor]:
    """One value a pair, (B,) each, detached: the rewards under LlamaFactory's names, then the statistics of the loss.

    `rewards/accuracies` is 1 where the chosen reward is the higher one and 0 otherwise, also at equality.
    """
    chosen, rejected = output.chosen_rewards, output.rejected_rewards
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/accuracies": (chosen > rejected).float(),
        "rewards/margins": chosen - rejected,
        **output.stats,
    }


def accuracies(policy: Sequence[torch.Tensor], reference: Sequence[torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """Two accuracies that mean the same whatever the loss is; one value a pair, (B,) each.

    `rewards/accuracies` counts the rewards of the loss, so runs of two losses cannot be compared by it.

    Args:
        policy: mean log-probabilities a token of the chosen and of the rejected responses, (B,) each.
        reference: the same of the reference, or None without one.
    """
    better, worse = policy
    found = {"accuracies/policy": (better > worse).float()}
    if reference is not None:
        found["accuracies/reference"] = (better - reference[0] > worse - reference[1]).float()
    return found
