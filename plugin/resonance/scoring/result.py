# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Scores of rows, from the verdicts on their questions."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..datafiles.scores import Scores
from .estimate import Place, Plan
from .types import NOT_ASKED, Verdict

SIDES = ("chosen", "rejected")
_NONE = Verdict((), "", NOT_ASKED)


@dataclass
class Result:
    """Attributes: scores: of each row, chosen and rejected. unscored: kind and reason of each other row. kinds: how
    many rows of each kind. by_position: what the answer that stands first, and the other, got: of both orders."""

    scores: dict[Place, tuple[float, float]] = field(default_factory=dict)
    unscored: dict[Place, tuple[str, str]] = field(default_factory=dict)
    by_position: list[tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.unscored.values())

    @property
    def counted(self) -> Scores:
        """As the statistics of a file's scores take them."""
        chosen, rejected = (array("d", (pair[side] for pair in self.scores.values())) for side in (0, 1))
        return Scores(chosen, rejected)

    @property
    def position(self) -> dict[str, float] | None:
        """How much better the answer that stands first fares, and how often the order decides which is better."""
        if not self.by_position:
            return None
        first = [score for pair in self.by_position for score, _ in pair]
        second = [score for pair in self.by_position for _, score in pair]
        turned = sum((a > b) != (d > c) or (a < b) != (d < c) for (a, b), (c, d) in self.by_position)
        count = len(first)
        return {
            "first_minus_second": (sum(first) - sum(second)) / count,
            "share_decided_by_order": turned / len(self.by_position),
        }


def gather(plan: Plan, known: Mapping[str, Verdict], unanswered: Mapping[str, Verdict]) -> Result:
    """The scores of all rows of which both questions are answered."""
    result = Result(unscored=dict(plan.unread))
    for place, keys in plan.keys.items():
        first, second = (known.get(key) or unanswered.get(key, _NONE) for key in keys)
        both = ((first, "chosen"), (second, "rejected"))
        failed = [(verdict, side) for verdict, side in both if verdict.failed]
        if failed:
            names = ("chosen first", "rejected first") if _is_pair(keys, known) else SIDES
            told = dict.fromkeys(f"{names[SIDES.index(side)]}: {verdict.reason}" for verdict, side in failed)
            result.unscored[place] = (failed[0][0].failed, "; ".join(told))
        elif len(first.scores) == 2:
            (a, b), (c, d) = first.scores, second.scores
            result.scores[place] = ((a + d) / 2, (b + c) / 2)
            result.by_position.append((first.scores, second.scores))
        else:
            result.scores[place] = (first.scores[0], second.scores[0])
    return result


def _is_pair(keys: tuple[str, str], known: Mapping[str, Verdict]) -> bool:
    return any(len(known[key].scores) == 2 for key in keys if key in known)
