# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Metrics between two log lines: summed on the device, read once a log line, averaged over ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch


def non_finite(logs: Mapping[str, Any]) -> list[str]:
    """Names of the logged numbers that are NaN or infinite."""
    return [name for name, value in logs.items() if isinstance(value, float) and not math.isfinite(value)]


class Meter:
    """Running means of named values over pairs. Adding never waits for the device; `means` does, once."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._pairs = 0

    def add(self, means: Mapping[str, torch.Tensor], pairs: int) -> None:
        """Add one micro-batch: means over its pairs (0-d tensors, already detached), and how many pairs there were.

        Every call, on every rank, must give the same names, which holds because names depend on the recipe only.
        """
        for name, value in means.items():
            total = value.float() * pairs
            self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._pairs += pairs

    def means(self, accelerator: Any) -> dict[str, float]:
        """Means over all pairs added since the last call, on all ranks; starts anew."""
        if not self._sums:
            return {}
        sums = torch.stack(list(self._sums.values())).to(accelerator.device)
        *totals, pairs = accelerator.reduce(torch.cat((sums, sums.new_tensor([self._pairs]))), "sum").tolist()
        result = {name: total / pairs for name, total in zip(self._sums, totals, strict=True)}
        self._sums, self._pairs = {}, 0
        return result
