# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Lays out a batch on the host: in the processes that load data, or for a batch that comes without a layout.

The result travels in the batch beside what LlamaFactory's collator made, as one object whose index tensors go to a
device in one copy that nobody waits for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from . import attention, cost, media
from .arrange import Arrangement, arrange
from .attention import Pieces
from .bundle import Bundle
from .layout import NOT_SHARED, PER_TOKEN, Layout, Segments
from .masks import check_token_types
from .media import Media
from .models import Models
from .names import PADDING_FREE, SHARED_PREFIX
from .prompts import IGNORED, CannotShareError, Group, Row, alone, group_rows, read_rows

KEY = "resonance_layout"  # of the `HostLayout` in a batch
_DIFFERENT = "the responses answer different prompts"
_SHORT = "the prompts are too short for what sharing them costs"
_EVEN = "there is too little padding for what packing costs"


@dataclass(frozen=True)
class HostLayout:
    """The layout of one batch, before it meets a model.

    Attributes:
        models: what it was made for.
        bundle: its index tensors.
        shape: (R, L-1) of the result.
        media: the batch's pictures by kind.
        shown: by kind, the pictures of the rows that the model reads, in order; None for the rows of the batch.
        pieces: the sequences of `Arrangement`, or None if the rows are the batch's.
        by_pieces: attention is by pieces, and not by a mask.
        reasons: by name of a speed-up, why it is not used.
    """

    models: Models
    bundle: Bundle
    shape: tuple[int, int]
    media: dict[str, Media]
    shown: dict[str, list[int]]
    pieces: list[list[int]] | None = None
    by_pieces: bool = False
    reasons: dict[str, str] = field(default_factory=dict)

    def pin_memory(self) -> HostLayout:
        """As a tensor's."""
        return replace(self, bundle=self.bundle.pin_memory())

    def to(self, device: Any, non_blocking: bool = False) -> HostLayout:
        """As a tensor's."""
        return replace(self, bundle=self.bundle.to(device, non_blocking))

    def layout(self, batch: Mapping[str, Any]) -> Layout:
        """What a model on the device of `batch` is called with."""
        bundle = self.bundle.to(batch["input_ids"].device, non_blocking=True)
        if self.pieces is None:
            inputs = {name: value for name, value in batch.items() if name not in ("labels", *media.KNOWN)}
            if not self.media:  # it is not known whose they are
                inputs |= {name: batch[name] for name in media.KNOWN if name in batch}
            segments = None
        else:
            inputs = {name: bundle[name] for name in PER_TOKEN if name in bundle}
            inputs.setdefault("position_ids", bundle["column"])
            pieces = Pieces(self.pieces, inputs["input_ids"].numel(), bundle) if self.by_pieces else None
            segments = Segments(bundle["segment"], bundle["column"], pieces)
        encoded = {}
        for kind, pictures in self.media.items():
            once = self.models.encodes_once and ("position_ids" in inputs or pictures.grids is None)
            if self.pieces is None and pictures.repeated and not once:
                inputs |= media.of_kind(batch, kind)
                continue
            found, how = media.encode(batch, kind, pictures, self.shown[kind], once)
            inputs |= found
            encoded[kind] = how
        sources = bundle["sources"] if "sources" in bundle else None
        positions, targets, owners = (bundle[name] for name in ("positions", "targets", "owners"))
        return Layout(inputs, positions, targets, owners, self.shape, sources, segments, encoded)


def lay_out(batch: Mapping[str, Any], models: Models, pictures: dict[str, Media] | None = None) -> HostLayout:
    """Choose a layout for a batch, and make it.

    Args:
        batch: as LlamaFactory's collators make it, on any device; a batch on a device is waited for.
        models: of the batch.
        pictures: of the batch by kind, if the collator knows them.
    """
    host = {name: batch[name].cpu() for name in (*PER_TOKEN, "attention_mask", "labels") if name in batch}
    labels = host["labels"].numpy()
    tokens = {kind: np.isin(host["input_ids"].numpy(), sorted(ids)) for kind, ids in models.tokens}
    pictures = media.read_media(batch, tokens) if pictures is None else pictures
    reasons: dict[str, str] = {}
    way = cost.ROWS
    rows: list[Row] = []
    groups: list[Group] = []
    if models.shares or models.packs:
        try:
            rows, groups = _read(batch, host, tokens, models, pictures)
            way, groups, reasons = _choose(models, rows, groups, labels.shape[1], bool(pictures))
        except CannotShareError as error:
            reasons = {name: str(error) for name in (SHARED_PREFIX, PADDING_FREE) if name in models.on}
    pictures = pictures or {}
    if way == cost.ROWS:
        shown = {kind: _in_order(found, range(len(labels))) for kind, found in pictures.items()}
        return HostLayout(models, _plain(labels), _shape(labels), pictures, shown, reasons=reasons)
    arranged = arrange(rows, groups, {n: host[n].numpy() for n in PER_TOKEN if n in host}, labels, way == cost.PACKED)
    read = [number for group in groups for number in _pictures_of(group, rows)]
    shown = {k: _in_order(found, read) for k, found in pictures.items()}
    by_pieces = way != cost.SHARED
    bundle = _bundle(arranged, models.attention if by_pieces else attention.MASKED)
    return HostLayout(models, bundle, _shape(labels), pictures, shown, arranged.pieces, by_pieces, reasons)


def _shape(labels: np.ndarray) -> tuple[int, int]:
    return labels.shape[0], labels.shape[1] - 1


def _plain(labels: np.ndarray) -> Bundle:
    """Positions, targets and owners in the rows of the batch."""
    row, column = np.nonzero(labels[:, 1:] != IGNORED)
    found = {"positions": row * labels.shape[1] + column, "targets": labels[row, column + 1]}
    found["owners"] = row * (labels.shape[1] - 1) + column
    return Bundle.of({name: torch.from_numpy(values) for name, values in found.items()})


def _bundle(arranged: Arrangement, kind: str) -> Bundle:
    return Bundle.of(arranged.tensors | attention.index(kind, arranged.pieces, int(np.prod(arranged.size))))


def _pictures_of(group: Group, rows: Sequence[Row]) -> list[int]:
    """The rows of a group whose pictures are read: those of its prompt, and those that nobody attends to."""
    reader = group[0][0]
    tails = [number for same in group for number in same if rows[number].tail and number != reader]
    return [reader, *tails]


def _read(
    batch: Mapping[str, Any],
    host: Mapping[str, torch.Tensor],
    tokens: Mapping[str, np.ndarray],
    models: Models,
    pictures: dict[str, Media] | None,
) -> tuple[list[Row], list[Group]]:
    """The parts of the rows, and the groups that share a prompt.

    Raises:
        CannotShareError: with the reason, if the batch is not of a kind that can be laid out otherwise.
    """
    if "attention_mask" not in host:
        raise CannotShareError("the batch has no attention mask")
    if unknown := [name for name in batch if name not in (*PER_TOKEN, *NOT_SHARED, *media.KNOWN)]:
        raise CannotShareError(f"the batch has {unknown[0]}")
    if pictures is None:
        raise CannotShareError("it cannot be told which row shows which pictures")
    check_token_types(host.get("token_type_ids"), models.typed)
    ids, attended, labels = (host[name].numpy() for name in ("input_ids", "attention_mask", "labels"))
    stands = np.logical_or.reduce([tokens[kind] for kind in tokens])
    if pictures and not stands.any():
        raise CannotShareError("the batch has pictures, but no known picture token")
    rows = read_rows(ids, attended, labels, stands)
    shown = [
        tuple(() if row.tail else tuple(found.rows[number]) for found in pictures.values())
        for number, row in enumerate(rows)
    ]
    flat = [host[name].numpy().reshape(-1, *ids.shape) for name in PER_TOKEN if name in host]
    return rows, group_rows(rows, np.concatenate(flat), labels, shown)


def _choose(
    models: Models, rows: list[Row], groups: list[Group], length: int, pictures: bool
) -> tuple[str, list[Group], dict[str, str]]:
    """The cheapest way that is allowed, its groups, and why what was asked for is not done."""
    reasons = {}
    shared = models.shares and len(groups) < len(rows)
    if models.shares and not shared:
        reasons[SHARED_PREFIX] = _DIFFERENT
    if models.packs and models.whole:
        reasons[PADDING_FREE] = models.whole
    splits = models.whole is None and (models.packs or models.attention == attention.FLASH)
    separate = alone(rows)
    if not shared:
        groups = separate
    # a tower costs more than what is weighed here
    ways = [] if shared and (models.always or (pictures and not models.encodes_once)) else [cost.ROWS]
    if shared and models.attention != attention.FLASH:
        ways.append(cost.SHARED)
    if shared and splits and not (models.packs and models.always):
        ways.append(cost.SPLIT)
    if models.packs and not models.whole and (len(groups) > 1 or models.always):
        ways.append(cost.PACKED)
    if models.always:
        return (ways or [cost.ROWS])[-1], groups, reasons
    sizes = [_sizes(group, rows) for group in groups]
    lengths = [row.end - row.start for row in rows]
    took = {w: cost.seconds(w, models.layer, cost.DEVICES[models.device], lengths, length, sizes) for w in ways}
    way = min(ways or [cost.ROWS], key=lambda way: took.get(way, 0.0))
    if way == cost.ROWS and shared:
        reasons[SHARED_PREFIX] = _SHORT
    if way != cost.PACKED and cost.PACKED in ways:
        reasons[PADDING_FREE] = _EVEN
    return way, groups, reasons


def _in_order(found: Media, rows: Iterable[int]) -> list[int]:
    """The pictures of some rows as a model meets them."""
    return [picture for number in rows for picture in found.rows[number]]


def _sizes(group: Group, rows: Sequence[Row]) -> tuple[int, list[int]]:
    """Tokens of the prompt, and of each continuation."""
    reader = rows[group[0][0]]
    return reader.first - reader.start, [rows[first].end - rows[first].first for first, *_ in group]
