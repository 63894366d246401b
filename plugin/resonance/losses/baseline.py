# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a batch contributes to BCO's running baseline."""

from __future__ import annotations

import torch

from .spec import Pairs


def mean_reward(pairs: Pairs, *, beta: float) -> torch.Tensor:
    """Mean implicit reward of a batch, a detached scalar: the value that `RunningMean` averages into `delta`.

    Formula: mean over the 2B responses of beta * (lp - ref), in nats.
    Paper: arXiv:2404.04656, section on the reward shift; trl computes the same from its concatenated batch.

    Args:
        pairs: policy and reference log-probs, all (B,).
        beta: > 0, inverse temperature.

    Raises:
        ValueError: no reference in `pairs`.
    """
    return beta * torch.cat((pairs.chosen_logratios, pairs.rejected_logratios)).mean().detach()
