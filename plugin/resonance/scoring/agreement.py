# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is worth knowing about scores: their spread, and how they go together with scores of before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from ..datafiles.scores import Scores, quantiles, share_at_least
from .estimate import Place

BINS = 10


def summary(scores: Scores) -> dict[str, Any]:
    """Counts of pairs with scores, of which there is at least one."""
    margins = scores.margins
    tau = quantiles(scores.chosen, [0.5])[0]
    return {
        "pairs": len(margins),
        "mean_chosen": sum(scores.chosen) / len(margins),
        "mean_rejected": sum(scores.rejected) / len(margins),
        "median_margin": quantiles(margins, [0.5])[0],
        "ties": sum(margin == 0 for margin in margins),
        "reversed": sum(margin < 0 for margin in margins),
        "tau_good": tau,
        "share_at_tau_good": share_at_least(scores.chosen, [tau])[0],
        "histogram": histogram(scores),
    }


def histogram(scores: Scores) -> list[dict[str, Any]]:
    """How many chosen and rejected scores there are of each value, or in BINS equal parts of their range."""
    import numpy as np

    if len(values := sorted({*scores.chosen, *scores.rejected})) <= BINS + 1:
        return [
            {"from": v, "to": v, "chosen": scores.chosen.count(v), "rejected": scores.rejected.count(v)}
            for v in values
        ]
    low, high = scores.limits
    edges = np.linspace(low, high, BINS + 1)
    chosen, rejected = (np.histogram(side, edges)[0].tolist() for side in (scores.chosen, scores.rejected))
    ends = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return [
        {"from": a, "to": b, "chosen": c, "rejected": r} for (a, b), c, r in zip(ends, chosen, rejected, strict=True)
    ]


def agreement(
    before: Mapping[Place, tuple[float, float]], now: Mapping[Place, tuple[float, float]]
) -> dict[str, Any] | None:
    """How scores of the same rows go together; None where no row has both.

    Rank correlations are over all answers, None where one of the two judges gave all the same score. The share of the
    same order is over pairs that neither has tied; `tied` counts the others.
    """
    places = [place for place in now if place in before]
    if not places:
        return None
    pairs = [(before[place], now[place]) for place in places]
    old, new = (list(chain.from_iterable(pair[at] for pair in pairs)) for at in (0, 1))
    apart = [(a - b, c - d) for (a, b), (c, d) in pairs if a != b and c != d]
    same = sum((one > 0) == (other > 0) for one, other in apart)
    return {
        "pairs": len(pairs),
        "spearman": _correlation("spearmanr", old, new),
        "kendall": _correlation("kendalltau", old, new),
        "same_order": same / len(apart) if apart else None,
        "tied": len(pairs) - len(apart),
    }


def _correlation(name: str, old: Sequence[float], new: Sequence[float]) -> float | None:
    from scipy import stats

    if len(set(old)) < 2 or len(set(new)) < 2:
        return None
    value = float(getattr(stats, name)(old, new).statistic)
    return value if math.isfinite(value) else None
