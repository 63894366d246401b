# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a rollout's completions were rewarded with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scores:
    """The rewards of B completions, kept apart and in total.

    None, where a reward was left out for a completion, is neither 0 nor made up for: the weights of the others stay as
    they are, as in trl. A completion without any reward has no total.

    Attributes:
        parts: name -> B rewards, None where it was left out; in the order of the recipe.
        weights: name -> weight.
    """

    parts: Mapping[str, Sequence[float | None]]
    weights: Mapping[str, float]

    @property
    def totals(self) -> list[float | None]:
        """The weighted sum of each completion's rewards, None where it has none."""
        return [self._total(row) for row in zip(*self.parts.values(), strict=True)]

    @property
    def rows(self) -> list[list[float]]:
        """(B, n), NaN where a reward was left out: what `gdpo` normalises each on its own."""
        return [
            [math.nan if value is None else value for value in row] for row in zip(*self.parts.values(), strict=True)
        ]

    @property
    def unscored(self) -> list[int]:
        """Completions without any reward: they are to be taken out of the batch (a mask of 0)."""
        return [row for row, total in enumerate(self.totals) if total is None]

    def mean(self, name: str) -> float | None:
        """The mean of one reward over the completions that have it, None where none has."""
        there = [value for value in self.parts[name] if value is not None]
        return sum(there) / len(there) if there else None

    def _total(self, row: tuple[float | None, ...]) -> float | None:
        there = [weight * value for weight, value in zip(self.weights.values(), row, strict=True) if value is not None]
        return sum(there) if there else None
