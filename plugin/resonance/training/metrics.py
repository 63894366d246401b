# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Metrics between two log lines: summed on the device, read once a log line, averaged over ranks.

Room: `training/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch


def non_finite(logs: Mapping[str, Any]) -> list[str]:
    """Names of the logged numbers that are NaN or infinite."""
    return [name for name, value in logs.items() if isinstance(value, float) and not math.isfinite(value)]


class Meter:
    """Running sums of named scalar tensors. Adding never waits for the device; `means` does, once."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add one micro-batch: scalars (0-d tensors), already detached."""
        for name, value in values.items():
            value = value.float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self, accelerator: Any) -> dict[str, float]:
        """Means over the micro-batches added since the last call, then over ranks; starts anew.

        Every rank must have added the same names, which holds because names depend on the recipe only.
        """
        if not self._sums:
            return {}
        means = torch.stack([self._sums[name] / self._counts[name] for name in self._sums]).to(accelerator.device)
        result = dict(zip(self._sums, accelerator.reduce(means, "mean").tolist(), strict=True))
        self._sums, self._counts = {}, {}
        return result
