# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""BCO's running baseline: what a batch adds to it, and the mean that is kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .margins import widened
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


class RunningMean:
    """Arithmetic mean of every value seen, the current one included.

    Tensors stay on their device and in float64 (float32 on MPS, which has no float64): an update never waits for an
    accelerator, and the mean of many batches does not drift.
    """

    def __init__(self) -> None:
        self.mean: torch.Tensor | float = 0.0
        self.count: int = 0

    def update(self, value: torch.Tensor | float, count: int = 1) -> torch.Tensor | float:
        """Add `value` with the weight `count` and return the new mean.

        Args:
            value: a number or a one-element tensor, e.g. the mean reward of a batch, or its mean over ranks.
            count: how many values it stands for, e.g. the number of ranks.

        Raises:
            ValueError: count < 1, or a tensor of more than one element.
        """
        if count < 1:
            raise ValueError(f"count={count} is not allowed: a value stands for at least one batch.")
        if isinstance(value, torch.Tensor):
            if value.numel() != 1:
                raise ValueError(
                    f"A running mean takes one value at a time, got a tensor of shape {tuple(value.shape)}."
                )
            value = widened(value).reshape(())
        self.count += count
        self.mean = self.mean + (value - self.mean) * (count / self.count)
        return self.mean

    def state_dict(self) -> dict[str, float]:
        """Plain numbers, for a checkpoint; reads the mean back from its device."""
        return {"mean": float(self.mean), "count": self.count}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from `state_dict()`'s numbers. Raises ValueError when they are not such."""
        if set(state) != {"mean", "count"} or state["count"] < 0:
            raise ValueError(f"Not the state of a running mean: {dict(state)!r}; expected 'mean' and 'count' >= 0.")
        self.mean, self.count = float(state["mean"]), int(state["count"])
