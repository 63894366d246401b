# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which way a batch is laid out: the cheapest of those that its models and the speed-ups in use allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import cost, segments
from .names import PADDING_FREE, SHARED_PREFIX
from .prompts import Group, Row, alone
from .request import Request

DIFFERENT = "the responses answer different prompts"
_SHORT = "the prompts are too short for what sharing them costs"
_EVEN = "there is too little padding for what packing costs"
BY_COST = frozenset((_SHORT, _EVEN))


@dataclass(frozen=True)
class Choice:
    """A way, of `cost`, and the rows that share a prompt in it.

    `reasons`: by name of a speed-up, why it is not used. `others`: how many other ways there were.
    """

    way: str
    groups: list[Group] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    others: int = 0


def choose(request: Request, rows: Sequence[Row], groups: list[Group], length: int, pictures: bool) -> Choice:
    """Choose for one batch.

    Args:
        request: what may be used.
        rows: of the batch.
        groups: of rows with equal prompts.
        length: to which the rows are padded.
        pictures: whether the rows show any.
    """
    reasons = {}
    shared = request.shares and len(groups) < len(rows)
    if request.shares and not shared:
        reasons[SHARED_PREFIX] = DIFFERENT
    if request.packs and request.whole:
        reasons[PADDING_FREE] = request.whole
    groups = groups if shared else alone(rows)
    ways = _allowed(request, shared, len(groups), pictures)
    if request.always:
        return Choice(ways[-1], groups, reasons)
    sizes = [_sizes(group, rows) for group in groups]
    lengths, device = [row.end - row.start for row in rows], cost.DEVICES[request.device]
    way = min(ways, key=lambda way: cost.seconds(way, request.layer, device, lengths, length, sizes))
    if shared and way == cost.ROWS:
        reasons[SHARED_PREFIX] = _SHORT
    if way != cost.PACKED and cost.PACKED in ways:
        reasons[PADDING_FREE] = _EVEN
    return Choice(way, groups, reasons, len(ways) - 1)


def _allowed(request: Request, shared: bool, sequences: int, pictures: bool) -> list[str]:
    """The ways, what changes most last. Attention by pieces belongs to `padding_free`, with which it was compared."""
    ways = [cost.ROWS]
    flash = request.attention == segments.FLASH  # takes no mask
    packs = request.packs and not request.whole
    if shared and not flash:
        ways.append(cost.SHARED)
    if shared and (packs or flash and not request.whole):
        ways.append(cost.SPLIT)
    if packs and (sequences > 1 or request.always):
        ways.append(cost.PACKED)
    if shared and pictures and not request.encodes_once and len(ways) > 1:
        ways.remove(cost.ROWS)  # in which a tower works twice; it costs more than what is weighed here
    if request.always and not packs and cost.SHARED in ways:
        return [cost.SHARED]
    return ways


def _sizes(group: Group, rows: Sequence[Row]) -> tuple[int, list[int]]:
    """Tokens of the prompt, and of each continuation."""
    reader = rows[group[0][0]]
    return reader.first - reader.start, [rows[first].end - rows[first].first for first, *_ in group]
