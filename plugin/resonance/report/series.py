# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Curves out of the log lines of runs: which panel has which, thinned to what can be seen, with running means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .metrics import PANELS, Panel, in_panel, split_of
from .run import NOT_METRICS, Run, is_speed

POINTS = 1000  # of a curve that are drawn
SMOOTHED_FROM = 30  # points of a curve
WINDOW = 1 / 12  # of the curve


class Series(NamedTuple):
    """A curve of one run."""

    run: int
    key: str
    metric: str
    split: str
    steps: list[float]
    values: list[float]


class Drawn(NamedTuple):
    """A panel with its curves."""

    panel: Panel
    series: list[Series]


def panels_of(runs: Sequence[Run]) -> tuple[list[Drawn], list[Drawn]]:
    """Panels of which any run has a curve, and one each for all other metrics with more than one value."""
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.metrics) if not is_speed(key)]
    main = []
    for panel in PANELS:
        mine = sorted((key for key in keys if in_panel(panel, key)), key=lambda key: _place(panel, key))
        drawn = Drawn(panel, [one for key in mine for one in series_of(runs, key)])
        keys = [key for key in keys if key not in mine]
        main += [drawn] if drawn.series else []
    others: dict[str, list[Series]] = {}
    for key in keys:
        metric, _ = split_of(key)
        others.setdefault(metric, []).extend(series_of(runs, key))
    rest = [
        Drawn(Panel(metric, (metric,), "", ""), series)
        for metric, series in others.items()
        if any(len(one.steps) > 1 for one in series)
    ]
    return main, rest


def _place(panel: Panel, key: str) -> tuple[bool, int]:
    metric, split = split_of(key)
    known = panel.metrics.index(metric) if metric in panel.metrics else len(panel.metrics)
    return split != "train", known


def series_of(runs: Sequence[Run], key: str) -> list[Series]:
    """The curve of a logged name in each run that has one."""
    metric, split = split_of(key)
    found = [(number, *run.curve(key)) for number, run in enumerate(runs)]
    return [Series(number, key, metric, split, steps, values) for number, steps, values in found if steps]


def single_values(run: Run) -> dict[str, float]:
    """Numbers that a run logged without a curve: its speed, and what it logs at its end."""
    values = {key: value for line in run.log for key, value in line.items() if isinstance(value, int | float)}
    return {key: values[key] for key in values if is_speed(key) or key in NOT_METRICS[2:]}


def thinned(steps: Sequence[float], values: Sequence[float], points: int = POINTS) -> tuple[list[float], list[float]]:
    """At most about `points` of a curve: the lowest and the highest of each stretch, so that no spike is lost."""
    if len(steps) <= points:
        return list(steps), list(values)
    kept: set[int] = {0, len(steps) - 1}
    size = math.ceil(2 * len(steps) / points)
    for begin in range(0, len(steps), size):
        places = range(begin, min(begin + size, len(steps)))
        finite = [at for at in places if math.isfinite(values[at])]
        kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)} if finite else {begin}
    places_kept = sorted(kept)
    return [steps[at] for at in places_kept], [values[at] for at in places_kept]


def running_mean(values: Sequence[float]) -> list[float] | None:
    """The mean around each point, which does not lag behind it; None for few points.

    Values that are not finite are left out. The mean of a constant is that constant, to the first and last point.
    """
    if len(values) < SMOOTHED_FROM:
        return None
    half = max(1, round(len(values) * WINDOW / 2))
    sums, counts = [0.0], [0]
    for value in values:
        finite = math.isfinite(value)
        sums.append(sums[-1] + (value if finite else 0.0))
        counts.append(counts[-1] + finite)
    found = []
    for at in range(len(values)):
        reach = min(half, at, len(values) - 1 - at)  # as far to either side, or the ends would be drawn inwards
        begin, end = at - reach, at + reach + 1
        count = counts[end] - counts[begin]
        found.append((sums[end] - sums[begin]) / count if count else math.nan)
    return found


def is_smoothed(panel: Panel, one: Series) -> bool:
    """Whether a running mean is drawn: of what is measured in training."""
    return panel.noisy and one.split == "train" and len(one.values) >= SMOOTHED_FROM
