# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is logged about a batch of pairs."""

from __future__ import annotations

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
