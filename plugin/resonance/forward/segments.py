# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whose token each cell of shared or packed rows is, and the index tensors by which attention is computed on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from . import pieces, varlen
from .bundle import Bundle

# Who attends: a mask, SDPA on pieces, torch's FlashAttention, Transformers' FlashAttention.
MASKED, SPLIT, VARLEN, FLASH = "masked", "split", "varlen", "flash"


class Pieces:
    """The sequences of shared or packed rows, and what each kind of attention makes of them, made once a batch.

    Args:
        ends: for each sequence where its prompt begins, where that ends, and where each continuation ends, places in
            the flattened rows.
        cells: tokens of the rows, padding included.
        bundle: index tensors of `index`, on the device of the rows.
    """

    def __init__(self, ends: Sequence[Sequence[int]], cells: int, bundle: Bundle) -> None:
        self.ends, self.cells, self.bundle = ends, cells, bundle
        self._made: dict[str, Any] = {}

    def to(self, device: Any, non_blocking: bool = False) -> Pieces:
        """The same on a device; itself if it is there. For layers that are spread over devices."""
        bundle = self.bundle.to(device, non_blocking)
        return self if bundle is self.bundle else Pieces(self.ends, self.cells, bundle)

    @property
    def sequences(self) -> varlen.Sequences:
        """For one varlen call a layer."""
        return self._make(VARLEN, lambda found: varlen.sequences(found, self.ends))

    @property
    def batches(self) -> pieces.Batches:
        """For two calls of SDPA a layer."""
        return self._make(SPLIT, lambda found: pieces.batches(found, self.ends, self.cells))

    def _make(self, kind: str, make: Any) -> Any:
        if kind not in self._made:
            names = [name for name in self.bundle.places if name.startswith(kind)]
            bundle = self.bundle
            if not names:  # laid out for another kind: before it was known what precision the layers compute in
                bundle = Bundle.of(index(kind, self.ends, self.cells)).to(self.bundle.device)
            self._made[kind] = make({n.removeprefix(kind): bundle[n] for n in bundle.places if n.startswith(kind)})
        return self._made[kind]


def index(kind: str, ends: Sequence[Sequence[int]], cells: int) -> dict[str, torch.Tensor]:
    """Index tensors that `kind` needs, on the host, by names that begin with it; none for a mask."""
    kind = VARLEN if kind == FLASH else kind
    if kind == MASKED:
        return {}
    found = varlen.places(ends, cells) if kind == VARLEN else pieces.places(ends, cells)
    return {kind + name: tensor for name, tensor in found.items()}


@dataclass(frozen=True)
class Segments:
    """Whose token each cell of shared or packed rows is. `segment` and `column` are (R', S) integers.

    `segment`: PREFIX, 1..K for the continuations, OUTSIDE for padding; `column`: the token's place in its own row.
    `pieces`: attention by pieces, or None if it takes a mask.
    """

    segment: torch.Tensor
    column: torch.Tensor
    pieces: Pieces | None = None
    masks: dict[Any, Any] = field(default_factory=dict, repr=False)  # made once a batch (`masks.py`)
