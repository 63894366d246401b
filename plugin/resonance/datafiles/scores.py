# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: the scores of pairs counted, put on another scale, and used to keep or drop rows."""

from __future__ import annotations

import bisect
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .layout import Layout
from .read import RowError, read_rows
from .text import printable, shorten
from .write import RowWriter, replacing

SHOWN = 20  # problems told
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def score_problem(value: Any) -> str | None:
    """Say what is wrong with one score, or None if it is a finite number; as strict as training is."""
    if value is None:
        return "missing"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"no number but {type(value).__name__} {shorten(printable(repr(value)), 60)}"
    return None if math.isfinite(value) else f"not finite but {value}"


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

    def require_sound(self, path: Path) -> None:
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
                scores.problems.append(f"row {number}: {', '.join(wrong)}")
        else:
            scores.chosen.append(float(values[0]))
            scores.rejected.append(float(values[1]))
        yield number, row, not wrong


def gather(path: Path, columns: tuple[str, str]) -> Scores:
    """Read all scores of a file."""
    scores = Scores()
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


def share_at_least(values: array[float], thresholds: list[float]) -> list[float]:
    """The part of `values` that is >= each threshold."""
    ordered = sorted(values)
    return [1 - bisect.bisect_left(ordered, threshold) / len(ordered) for threshold in thresholds]


@dataclass(frozen=True)
class Line:
    """A linear map: ``low`` becomes ``new_low``, ``high`` becomes ``new_high``."""

    low: float
    high: float
    new_low: float
    new_high: float

    def __post_init__(self) -> None:
        ends = (self.low, self.high, self.new_low, self.new_high)
        if not all(map(math.isfinite, ends)) or self.low >= self.high or self.new_low >= self.new_high:
            raise ValueError(
                f"cannot map {self.low:g}..{self.high:g} onto {self.new_low:g}..{self.new_high:g}: each must rise"
            )

    @property
    def slope(self) -> float:
        return (self.new_high - self.new_low) / (self.high - self.low)

    def __call__(self, score: float) -> float:
        part = (score - self.low) / (self.high - self.low)
        return self.new_low * (1 - part) + self.new_high * part  # exact at both ends


class Ranks:
    """A map by rank: a score becomes the part of all scores below it, ties in the middle, on the new scale."""

    def __init__(self, scores: Scores, new_low: float, new_high: float) -> None:
        self.values: list[float] = []
        self.parts: list[float] = []
        counts = Counter(scores.chosen) + Counter(scores.rejected)
        total = sum(counts.values())
        if len(counts) < 2:
            raise ValueError("all scores are the same, so they have no ranks.")
        below = 0
        for value in sorted(counts):
            self.values.append(value)
            self.parts.append((below + (counts[value] - 1) / 2) / (total - 1))
            below += counts[value]
        first, last = self.parts[0], self.parts[-1]  # ties at an end would keep it from being reached
        self.line = Line(first, last, new_low, new_high)

    def __call__(self, score: float) -> float:
        """Between two scores that occur, the map is linear."""
        at = bisect.bisect_left(self.values, score)
        if at == len(self.values) or at == 0:
            return self.line(self.parts[min(at, len(self.parts) - 1)])
        left, right = self.values[at - 1], self.values[at]
        part = (score - left) / (right - left)
        return self.line(self.parts[at - 1] + (self.parts[at] - self.parts[at - 1]) * part)


def rewrite(
    source: Path, target: Path, columns: tuple[str, str], change: Callable[[dict[str, Any], bool], bool]
) -> tuple[Scores, int]:
    """Write the rows that `change` keeps, whole or not at all.

    Args:
        change: (row, whether its scores are sound) -> whether to keep it; may change the row.

    Returns:
        All scores as they were, and how many rows were written.

    Raises:
        RowError: if the source cannot be read, or holds what JSON cannot.
        ValueError: if the target is neither ``.json`` nor ``.jsonl``.
    """
    json_like = source.suffix.lower() in (".json", ".jsonl")
    layout = Layout.of(source) if json_like else Layout(lines=False, indent=2, ascii_only=False)
    scores = Scores()
    with replacing(target) as file:
        writer = RowWriter(file, **layout.to(source, target))
        for number, row, sound in scored_rows(source, columns, scores):
            if change(row, sound):
                try:
                    writer.write(row)
                except (TypeError, UnicodeEncodeError) as error:
                    raise RowError(f"{source}, row {number}: cannot be written as JSON ({error}).") from error
        writer.close()
    return scores, writer.count
