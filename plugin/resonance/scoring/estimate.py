# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which questions there are, and how much it is to ask them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..rows.fields import ROW, SCORE_FIELDS, SOURCE
from .keys import Keys
from .types import NO_ROW, Ask, Judge, Pair

Place = tuple[str, int]  # file and number of a row


@dataclass(frozen=True)
class Price:
    """Of a million tokens, in and out."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def of(self, tokens: tuple[int, int]) -> float:
        return (tokens[0] * self.tokens_in + tokens[1] * self.tokens_out) / 1e6


@dataclass
class Plan:
    """What a data set comes to.

    Attributes:
        keys: of the two questions about each row.
        before: scores that rows have already, chosen and rejected.
        unread: rows that no question can be made of, and why.
        questions: different ones; `new`: that have no answer yet.
        tokens: of new questions, about; `pictures`: in them.
        first: a new question, or any where all are answered.
    """

    keys: dict[Place, tuple[str, str]] = field(default_factory=dict)
    before: dict[Place, tuple[float, float]] = field(default_factory=dict)
    unread: dict[Place, tuple[str, str]] = field(default_factory=dict)
    questions: int = 0
    new: int = 0
    tokens: int = 0
    pictures: int = 0
    first: Ask | None = None

    def calls(self, batch_size: int) -> int:
        return math.ceil(self.new / batch_size)

    def asks(self, pairs: Iterable[Pair], mode: str) -> Iterator[Ask]:
        """The questions, with their keys; pairs are read once more."""
        for pair in pairs:
            keys = self.keys.get(place_of(pair))
            for ask, key in zip(asks_of(pair, mode), keys or (), strict=bool(keys)):
                yield Ask(ask.pair, ask.answers, ask.where, key)


def asks_of(pair: Pair, mode: str) -> tuple[Ask, Ask]:
    """About each answer alone, or about both in either order."""
    chosen, rejected = pair["chosen"], pair["rejected"]
    where = f"{pair[SOURCE]}, row {pair[ROW]}"
    if mode == "pair":
        return Ask(pair, (chosen, rejected), where), Ask(pair, (rejected, chosen), where)
    return Ask(pair, (chosen,), where), Ask(pair, (rejected,), where)


def place_of(pair: Pair) -> Place:
    return str(pair[SOURCE]), int(pair[ROW])


def survey(
    pairs: Iterable[Pair],
    judge: Judge,
    mode: str,
    known: Collection[str],
    on_row: Callable[[], Any] = lambda: None,
) -> Plan:
    """Read all pairs once.

    Args:
        pairs: as `checks.data.pairs` reads them.
        judge: that will be asked.
        mode: `single` or `pair`.
        known: keys of questions that have been answered.
        on_row: called after each.

    Raises:
        ValueError: a question cannot be written.
    """
    plan, keys, seen = Plan(), Keys(), set[str]()
    for pair in pairs:
        on_row()
        place, asks = place_of(pair), asks_of(pair, mode)
        try:
            found = [keys.of(judge.decides(ask), pair["images"]) for ask in asks]
            tokens = [judge.tokens(ask) for ask in asks]
        except OSError as error:
            plan.unread[place] = (NO_ROW, f"an image cannot be read: {error}")
            continue
        plan.keys[place] = (found[0], found[1])
        if all(name in pair for name in SCORE_FIELDS):
            plan.before[place] = (pair[SCORE_FIELDS[0]], pair[SCORE_FIELDS[1]])
        for ask, key, count in zip(asks, found, tokens, strict=True):
            if key in seen:
                continue
            seen.add(key)
            plan.questions += 1
            plan.first = plan.first or ask
            if key not in known:
                plan.first = ask if not plan.new else plan.first
                plan.new, plan.tokens = plan.new + 1, plan.tokens + count
                plan.pictures += len(pair["images"])
    return plan
