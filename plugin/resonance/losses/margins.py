# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The margins of a batch on all ranks, and what is remembered of those of earlier batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

MOMENTUM = 0.9  # of the running mean and deviation: that of the released codes of beta-DPO and alpha-DPO


@dataclass(frozen=True)
class Margins:
    """D of the N pairs of a batch on all ranks, without a gradient.

    Attributes:
        values: (N,), those of the ranks one after the other.
        own: where those of this rank are.
        mean, std: running, 0-d; 0 before the first batch of a training.
        noise: (N,) of the Gumbel distribution, the same on all ranks, to draw pairs with; None where every pair stays,
            as in an evaluation.
    """

    values: torch.Tensor
    own: slice
    mean: torch.Tensor
    std: torch.Tensor
    noise: torch.Tensor | None = None

    @classmethod
    def of(cls, values: torch.Tensor) -> Margins:
        """Of a batch that is all there is: its own mean and deviation, every pair stays."""
        values = values.detach()
        return cls(values, slice(None), values.mean(), deviation(values))

    def standardized(self) -> torch.Tensor:
        """(values - mean) / std, (N,); 0 where the deviation is 0."""
        return standardize(self.values, self.mean, self.std)

    def kept(self, standardized: torch.Tensor, drop: float) -> torch.Tensor:
        """1 for the pairs that were drawn and 0 for the others, (N,).

        int(N * (1 - drop)) pairs, at least one, are drawn without replacement by weights exp(-standardized ** 2 / 2).
        """
        if self.noise is None:
            return torch.ones_like(self.values)
        count = max(1, int(len(self.values) * (1 - drop)))
        # the largest of log-weights plus Gumbel noise are a draw without replacement with those weights
        drawn = (self.noise - standardized**2 / 2).topk(count).indices
        return torch.zeros_like(self.values).index_fill(0, drawn, 1.0)


def widened(values: torch.Tensor) -> torch.Tensor:
    """The same numbers without a gradient, in float64, or in float32 on MPS, which has no float64."""
    return values.detach().to(torch.float32 if values.device.type == "mps" else torch.float64)


def deviation(values: torch.Tensor) -> torch.Tensor:
    """Standard deviation with N - 1, 0-d; 0 of a single value."""
    return values.std() if len(values) > 1 else torch.zeros_like(values[0])


def standardize(values: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(values - mean) / std, (N,), in the type of `values`; 0 where the deviation is 0."""
    mean, std = mean.to(values.dtype), std.to(values.dtype)
    tiny = torch.finfo(values.dtype).tiny
    return torch.where(std > tiny, (values - mean) / std.clamp(min=tiny), torch.zeros_like(values))


class RunningMargins:
    """Mean and standard deviation of the margins of all batches so far: x <- 0.9 * x + 0.1 * batch, from 0.

    Tensors stay on their device and in float64 (float32 on MPS, which has no float64): an update never waits for an
    accelerator.
    """

    def __init__(self, seed: int = 0) -> None:
        self.mean: torch.Tensor | float = 0.0
        self.std: torch.Tensor | float = 0.0
        self.count = 0
        self.seed = seed

    def update(self, values: torch.Tensor) -> None:
        """Count in the margins of a batch on all ranks, (N,). A single one has no deviation to be counted in."""
        values = widened(values)
        self.mean = self.mean * MOMENTUM + values.mean() * (1 - MOMENTUM)
        if len(values) > 1:
            self.std = self.std * MOMENTUM + values.std() * (1 - MOMENTUM)
        self.count += 1

    def margins(self, values: torch.Tensor, own: slice, draws: bool) -> Margins:
        """What a loss is told of a batch.

        Args:
            values: of all ranks, (N,).
            own: where those of this rank are.
            draws: whether pairs may be left out. The draw follows from seed and count alone, so that all ranks draw
                the same, and a resumed run what the whole one would.
        """
        values = values.detach()
        noise = None
        if draws:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.count)
            noise = -torch.empty(len(values)).exponential_(generator=generator).log()
            noise = noise.to(values.device, values.dtype, non_blocking=True)
        mean, std = (torch.as_tensor(each, device=values.device) for each in (self.mean, self.std))
        return Margins(values, own, mean, std, noise)

    def state_dict(self) -> dict[str, float]:
        """Plain numbers, for a checkpoint; reads them back from their device."""
        return {"mean": float(self.mean), "std": float(self.std), "count": self.count}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from `state_dict()`'s numbers. Raises ValueError when they are not such."""
        if set(state) != {"mean", "std", "count"} or state["count"] < 0:
            raise ValueError(
                f"Not the state of running margins: {dict(state)!r}; expected 'mean', 'std' and 'count' >= 0."
            )
        self.mean, self.std, self.count = float(state["mean"]), float(state["std"]), int(state["count"])
