# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Lays out batches where they are collated, in the processes that load data, before they go to a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .host import KEY, HostLayout, lay_out
from .media import GRIDS, Media
from .request import Request

Shown = Mapping[str, tuple[list[list[int]], Sequence[int]]]  # by kind: pictures of each row, rows of pixels of each


class Planner:
    """What a collator calls with each batch.

    A process that loads data has a copy of the object: what `request` is set to later holds for the processes that
    start later. A batch that was laid out for another request is laid out again by `Forward.prepare`.

    Attributes:
        request: of the batches; until they are known nothing is laid out.
    """

    key = KEY

    def __init__(self) -> None:
        self.request: Request | None = None

    @property
    def ready(self) -> bool:
        return self.request is not None

    def __call__(self, batch: Mapping[str, Any], shown: Shown | None) -> HostLayout:
        """Lay out a batch.

        Args:
            batch: on the host. Where `shown` is given its pixels hold each distinct picture once.
            shown: by kind, the numbers of the pictures that each row shows, and the rows of pixels of each picture.
        """
        if self.request is None:
            raise RuntimeError("a batch was to be laid out before it was known for whom")
        known = None
        if shown is not None:
            grids = {kind: batch.get(GRIDS[kind]) for kind in shown}
            known = {kind: Media.of_occurrences(*pictures, grids[kind]) for kind, pictures in shown.items()}
        return lay_out(batch, self.request, known)


def planner_of(collator: Any) -> Planner | None:
    """The planner that a collator asks, a new one if it asks none yet; None for a collator that lays out nothing."""
    if not hasattr(collator, "lay_out"):
        return None
    if collator.lay_out is None:
        collator.lay_out = Planner()
    planner: Planner = collator.lay_out
    return planner
