# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Copies of a file with its scores on another scale, or without pairs that differ too little."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import JsonLayout
from .read import RowError
from .scores import Scores, scored_rows
from .write import RowWriter, replacing


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
    """A map by rank: a score becomes the part of all scores below it, ties in the middle, on the new scale.

    Between two scores that occur, the map is linear.
    """

    def __init__(self, scores: Scores, new_low: float, new_high: float) -> None:
        import numpy as np

        self.values, counts = np.unique([*scores.chosen, *scores.rejected], return_counts=True)
        if len(counts) < 2:
            raise ValueError("all scores are the same, so they have no ranks.")
        middle = np.cumsum(counts) - (counts + 1) / 2
        to_scale = Line(middle[0], middle[-1], new_low, new_high)  # ties at an end would keep it from being reached
        self.ranks = [to_scale(rank) for rank in middle]

    def __call__(self, score: float) -> float:
        import numpy as np

        return float(np.interp(score, self.values, self.ranks))


Map = Line | Ranks


@dataclass(frozen=True)
class MarginRule:
    """Whether to keep a pair: chosen - rejected >= ``margin``, where 0.3 - 0.1 reaches 0.2.

    ``ties`` keeps (True) or drops (False) pairs with equal scores whatever the margin is; None makes no exception.
    """

    margin: float
    ties: bool | None = None

    def __call__(self, chosen: float, rejected: float) -> bool:
        if self.ties is not None and chosen == rejected:
            return self.ties
        gap = chosen - rejected
        return gap >= self.margin or math.isclose(gap, self.margin, rel_tol=1e-9, abs_tol=1e-9)


def rescale(source: Path, target: Path, columns: tuple[str, str], scale: Map) -> None:
    """Write a copy with both scores mapped. All scores are sound; see `_rewrite` for errors."""

    def mapped(row: dict[str, Any], sound: bool) -> dict[str, Any]:
        return row | {column: scale(row[column]) for column in columns}

    _rewrite(source, target, columns, mapped)


def filter_rows(
    source: Path, target: Path, columns: tuple[str, str], rule: MarginRule, left_out: Container[int] = ()
) -> None:
    """Write the rows that a rule keeps; rows without scores and those left out are dropped. Errors: see `_rewrite`."""
    chosen, rejected = columns

    def kept(row: dict[str, Any], sound: bool) -> dict[str, Any] | None:
        return row if sound and rule(row[chosen], row[rejected]) else None

    _rewrite(source, target, columns, kept, left_out)


def _rewrite(
    source: Path,
    target: Path,
    columns: tuple[str, str],
    change: Callable[[dict[str, Any], bool], dict[str, Any] | None],
    left_out: Container[int] = (),
) -> None:
    """Write what `change` makes of each row, of which it is given whether its scores are sound; None drops it.

    Rows whose numbers are in `left_out` are dropped before.

    Raises:
        RowError: if the source cannot be read, or holds what JSON cannot.
        ValueError: if the target is neither ``.json`` nor ``.jsonl``.
    """
    json_like = source.suffix.lower() in (".json", ".jsonl")
    layout = JsonLayout.of(source) if json_like else JsonLayout(lines=False, indent=2, ascii_only=False)
    with replacing(target) as file:
        writer = RowWriter(file, **layout.to(source, target))
        for number, row, sound in scored_rows(source, columns, Scores(), left_out):
            if (changed := change(row, sound)) is not None:
                try:
                    writer.write(changed)
                except (TypeError, UnicodeEncodeError) as error:
                    raise RowError(f"{source}, row {number}: cannot be written as JSON ({error}).") from error
        writer.close()
