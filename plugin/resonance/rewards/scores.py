# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a rollout's completions were rewarded with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verdicts:
    """What a judge makes of B completions; a reward may return it in place of a list of numbers.

    Attributes:
        values: B rewards, None where it is left out.
        reasons: B texts, empty where there is none.
        refused: True where the judge gave no score that can be used.
    """

    values: Sequence[float | None]
    reasons: Sequence[str]
    refused: Sequence[bool]


@dataclass(frozen=True)
class Scores:
    """The rewards of B completions, kept apart and in total.

    None, where a reward was left out for a completion, is neither 0 nor made up for: the weights of the others stay as
    they are, as in trl. A completion without any reward has no total.

    Attributes:
        parts: name -> B rewards, None where it was left out; in the order of the recipe.
        weights: name -> weight.
        verdicts: name -> what a judge said, of rewards that are judges.
    """

    parts: Mapping[str, Sequence[float | None]]
    weights: Mapping[str, float]
    verdicts: Mapping[str, Verdicts] = field(default_factory=dict)

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

    def reasons(self, row: int) -> dict[str, str]:
        """What judges said about a completion, by name, where they said something."""
        return {name: text for name, verdict in self.verdicts.items() if (text := verdict.reasons[row])}

    def refused(self, row: int) -> dict[str, bool]:
        """Whether judges refused to score a completion, by name."""
        return {name: verdict.refused[row] for name, verdict in self.verdicts.items()}

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
