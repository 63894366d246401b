# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`pairs.jsonl`: where the pairs of a preference run are, and how they moved."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = "pairs.jsonl"
LISTED = 10  # pairs in a table
LEAST = 30  # pairs of which a correlation says something

Pair = dict[str, Any]


class Places(NamedTuple):
    """The pairs of one split, where they first were and where they last were, by (dataset, row).

    Attributes:
        split: "eval" or "train".
        first, last: pairs by identity.
        steps: of the earliest and of the latest of them.
    """

    split: str
    first: dict[tuple[str, int], Pair]
    last: dict[tuple[str, int], Pair]
    steps: tuple[int, int]


def read(path: Path) -> Iterator[Pair]:
    """Pairs of a file, one by one; lines that a killed run left half, or without a margin, are passed over."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            try:
                pair = json.loads(line)
            except ValueError:
                continue
            if isinstance(pair, dict) and is_number(pair.get("step")) and is_number(pair.get("reward_margin")):
                yield pair


def places(pairs: Iterable[Pair]) -> Places | None:
    """Of the evaluation where there is one, else of training; None without a pair. Holds two lines a pair."""
    found: dict[str, Places] = {}
    for pair in pairs:
        name, split, step = (str(pair.get("dataset")), pair.get("row", 0)), str(pair.get("split")), pair["step"]
        here = found.setdefault(split, Places(split, {}, {}, (step, step)))
        here.first.setdefault(name, pair)
        here.last[name] = pair
        found[split] = here._replace(steps=(here.steps[0], step))
    return found.get("eval", found.get("train"))


def moved_most(found: Places) -> list[tuple[Pair, float]]:
    """The pairs whose reward margin changed most, and by how much; none that was recorded once."""
    changes = [
        (pair, pair["reward_margin"] - found.first[name]["reward_margin"])
        for name, pair in found.last.items()
        if pair is not found.first[name]
    ]
    return sorted(changes, key=lambda each: -abs(each[1]))[:LISTED]


def still_wrong(found: Places) -> list[Pair]:
    """The pairs whose rejected answer has the higher reward at the end, the worst first."""
    wrong = [pair for pair in found.last.values() if pair["reward_margin"] < 0]
    return sorted(wrong, key=lambda pair: pair["reward_margin"])


def with_lengths(pairs: Iterable[Pair]) -> list[Pair]:
    """Those that say how long their answers are; a reward model's do not."""
    return [pair for pair in pairs if is_number(pair.get("len_chosen")) and is_number(pair.get("len_rejected"))]


def length_correlation(pairs: Sequence[Pair]) -> float | None:
    """Pearson's correlation of reward margin and difference of lengths; None for fewer than LEAST pairs."""
    if len(pairs) < LEAST:
        return None
    margins = [pair["reward_margin"] for pair in pairs]
    lengths = [pair["len_chosen"] - pair["len_rejected"] for pair in pairs]
    means = sum(margins) / len(margins), sum(lengths) / len(lengths)
    covariance = sum((m - means[0]) * (d - means[1]) for m, d in zip(margins, lengths, strict=True))
    spread = math.sqrt(sum((m - means[0]) ** 2 for m in margins) * sum((d - means[1]) ** 2 for d in lengths))
    return covariance / spread if spread else None


def is_number(value: Any) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, int | float) and math.isfinite(value)
