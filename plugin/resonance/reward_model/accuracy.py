# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which groups of pairs the accuracy of a reward model is reported for: by file, and by difference of scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..rows.fields import SCORE_FIELDS, SOURCE

EDGES = (0.0, 0.5, 1.0, 2.0, 4.0)  # a difference of scores is in the first bin whose edge it does not exceed


def margin_bin(gap: float) -> str:
    """The name of the bin of a difference of scores: ``margin<=0.5``, or ``margin>4``."""
    edge = next((edge for edge in EDGES if gap <= edge or math.isclose(gap, edge, abs_tol=1e-9)), None)
    return f"margin>{EDGES[-1]:g}" if edge is None else f"margin<={edge:g}"


def groups_of(rows: Iterable[Mapping[str, Any]], short_name: Callable[[str], str] = str) -> dict[str, list[int]]:
    """By name, the places of the pairs of each file and of each bin; pairs without scores are in no bin.

    Args:
        rows: pairs, with origin and scores where they have some.
        short_name: what is written for a file.
    """
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        names = [short_name(str(row[SOURCE]))] if SOURCE in row else []
        chosen, rejected = (row.get(name) for name in SCORE_FIELDS)
        if chosen is not None and rejected is not None:
            names.append(margin_bin(chosen - rejected))
        for name in names:
            found.setdefault(name, []).append(place)
    return found


def summary(rows: Sequence[Mapping[str, Any]], rewards: Sequence[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """What rewards say about pairs: of all, then of each file and of each bin in order.

    Args:
        rows: pairs, with origin and scores where they have some.
        rewards: of the chosen and of the rejected answer of each.
    """
    groups = groups_of(rows)
    bins = [f"margin<={edge:g}" for edge in EDGES] + [f"margin>{EDGES[-1]:g}"]
    files = [name for name in groups if name not in bins]
    ordered = {name: groups[name] for name in (*files, *bins) if name in groups}
    return {name: _of(rewards, places) for name, places in {"all": list(range(len(rows))), **ordered}.items()}


def _of(rewards: Sequence[tuple[float, float]], places: Sequence[int]) -> dict[str, float]:
    chosen, rejected = zip(*(rewards[place] for place in places), strict=True)
    count = len(places)
    right = sum(good > bad for good, bad in zip(chosen, rejected, strict=True))
    means = {"chosen": sum(chosen) / count, "rejected": sum(rejected) / count}
    return {"pairs": count, "accuracy": right / count, **means, "margin": means["chosen"] - means["rejected"]}
