# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: the scores of pairs, gathered and counted. Reads, never writes."""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..rows.fields import score_problem
from .read import read_rows

SHOWN = 20  # problems told
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass
class Scores:
    """The scores of a file's pairs, 16 bytes a row.

    Attributes:
        chosen, rejected: of sound rows, in their order.
        bad: how many rows have a score that is none.
        problems: the first SHOWN of them, with their rows.
    """

    chosen: array[float] = field(default_factory=lambda: array("d"))
    rejected: array[float] = field(default_factory=lambda: array("d"))
    bad: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def margins(self) -> array[float]:
        return array("d", (better - worse for better, worse in zip(self.chosen, self.rejected, strict=True)))

    @property
    def lowest(self) -> float:
        return min(min(self.chosen), min(self.rejected))

    @property
    def highest(self) -> float:
        return max(max(self.chosen), max(self.rejected))

    def require_sound(self, path: str | Path) -> None:
        """Raise ValueError if there is a score that is none, or no score at all."""
        if self.bad:
            more = f"\n  ... and {self.bad - SHOWN} more" if self.bad > SHOWN else ""
            listed = "".join(f"\n  {problem}" for problem in self.problems)
            raise ValueError(f"{path}: {self.bad} rows have no two scores:{listed}{more}")
        if not self.chosen:
            raise ValueError(f"{path}: holds no rows.")


def scored_rows(path: Path, columns: tuple[str, str], scores: Scores) -> Iterator[tuple[int, Any, bool]]:
    """Yield (row number, row, whether both scores are sound), and gather the scores on the way.

    Args:
        columns: names of the chosen and the rejected score.
    """
    for number, row in read_rows(path):
        values: list[Any] = [row.get(column) if isinstance(row, dict) else None for column in columns]
        pairs = zip(columns, values, strict=True)
        wrong = [f"{column} is {problem}" for column, value in pairs if (problem := score_problem(value))]
        if wrong:
            scores.bad += 1
            if scores.bad <= SHOWN:
                scores.problems.append(f"{path}, row {number}: {', '.join(wrong)}")
        else:
            scores.chosen.append(float(values[0]))
            scores.rejected.append(float(values[1]))
        yield number, row, not wrong


def gather(files: Iterable[Path], columns: tuple[str, str]) -> Scores:
    """Read all scores of a set's files."""
    scores = Scores()
    for path in files:
        for _ in scored_rows(path, columns, scores):
            pass
    return scores


def quantiles(values: array[float], at: tuple[float, ...] = QUANTILES) -> list[float]:
    """Quantiles with linear interpolation between the sorted values (NumPy's default)."""
    ordered = sorted(values)
    found = []
    for part in at:
        place = part * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        found.append(ordered[low] + (ordered[high] - ordered[low]) * (place - low))
    return found


def share_at_least(values: Sequence[float], thresholds: list[float]) -> list[float]:
    """The part of `values` that is >= each threshold."""
    ordered = sorted(values)
    return [1 - bisect.bisect_left(ordered, threshold) / len(ordered) for threshold in thresholds]
