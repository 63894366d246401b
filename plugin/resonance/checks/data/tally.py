# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Numbers of many rows, eight bytes each, and their histogram."""

from __future__ import annotations

import math
from array import array
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
        values: finite ones; `add` takes in one more.
    """

    def __init__(self, title: str, values: Iterable[float] = ()) -> None:
        self.title = title
        self.values: array[float] = array("d", values)
        self.add = self.values.append

    def summary(self) -> str:
        """Lowest, median, 95th percentile and highest value."""
        import numpy as np

        found = np.quantile(self.values, (0, 0.5, 0.95, 1), method="higher")
        names = ("least", "median", "95 %", "most")
        return ", ".join(f"{name} {value:,.10g}" for name, value in zip(names, found, strict=True))

    def bins(self) -> list[Bin]:
        """About BINS bins with round limits, or one for each value if there are no more values than that."""
        import numpy as np

        values, counts = np.unique(self.values, return_counts=True)
        if len(values) <= BINS:
            return [Bin(value, value, size) for value, size in zip(values.tolist(), counts.tolist(), strict=True)]
        unit = 10.0 ** math.floor(math.log10((values[-1] - values[0]) / BINS))
        width = next(step * unit for step in STEPS if step * unit * BINS >= (values[-1] - values[0]) * (1 - 1e-9))
        first = math.floor(values[0] / width)
        edges = np.arange(first, max(math.ceil(values[-1] / width), first + 1) + 1) * width
        sizes, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=counts)
        return [
            Bin(*each) for each in zip(edges.tolist(), edges[1:].tolist(), sizes.astype(int).tolist(), strict=False)
        ]
