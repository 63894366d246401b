# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Numbers of many rows, eight bytes each, and their histogram. Standard library only."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

BINS = 12
STEPS = (1, 2, 2.5, 5, 10)


class Bin(NamedTuple):
    """How many values (``size``) lie from ``low`` to below ``high``; the last bin holds its upper end, too."""

    low: float
    high: float
    size: int


class Tally:
    """Values of one quantity.

    Args:
        title: what they are, with the unit.
    """

    def __init__(self, title: str, values: Iterable[float] = ()) -> None:
        self.title = title
        self.values: array[float] = array("d", values)

    def add(self, value: float) -> None:
        """Take in one finite value."""
        self.values.append(value)

    def summary(self) -> str:
        """Lowest, median, 95th percentile and highest value."""
        ordered = sorted(self.values)
        at = [ordered[0], ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)], ordered[-1]]
        names = ("least", "median", "95 %", "most")
        return ", ".join(f"{name} {value:,.10g}" for name, value in zip(names, at, strict=True))

    def bins(self) -> list[Bin]:
        """About BINS bins with round limits, or one for each value if there are no more values than that."""
        if not self.values:
            return []
        distinct = self._distinct()
        if distinct is not None:
            return [Bin(value, value, count) for value, count in sorted(distinct.items())]
        low, high = min(self.values), max(self.values)
        width = _round_up((high - low) / BINS) if high > low else 1.0
        start = math.floor(low / width)
        counts: dict[int, int] = {}
        last = max(math.ceil(high / width) - 1, start)
        for value in self.values:
            place = min(math.floor(value / width), last)
            counts[place] = counts.get(place, 0) + 1
        return [Bin(i * width, (i + 1) * width, counts.get(i, 0)) for i in range(start, last + 1)]

    def _distinct(self) -> Counter[float] | None:
        counts: Counter[float] = Counter()
        for value in self.values:
            counts[value] += 1
            if len(counts) > BINS:
                return None
        return counts


def _round_up(width: float) -> float:
    unit = 10.0 ** math.floor(math.log10(width))
    return next(step * unit for step in STEPS if step * unit >= width * (1 - 1e-9))
