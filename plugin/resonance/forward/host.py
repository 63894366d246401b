# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Lays out a batch on the host: in the processes that load data, or for a batch that comes without a layout.

The result travels in the batch beside what LlamaFactory's collator made, as one object whose index tensors go to a
device in one copy that nobody waits for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from . import cost, media
from .arrange import Arrangement, arrange
from .bundle import Bundle
from .choose import Choice, choose
from .layout import NOT_SHARED, PER_TOKEN, Layout
from .masks import check_token_types
from .media import Media
from .names import PADDING_FREE, SHARED_PREFIX
from .prompts import IGNORED, CannotShareError, Group, Row, group_rows, read_rows
from .request import Request
from .segments import MASKED, Pieces, Segments, index

KEY = "resonance_layout"  # of the `HostLayout` in a batch


@dataclass(frozen=True)
class HostLayout:
    """The layout of one batch, before it meets a model.

    Attributes:
        request: what it was made for.
        bundle: its index tensors.
        shape: (R, L-1) of the result.
        media: the batch's pictures by kind.
        shown: by kind, the pictures of the rows that the model reads, in order.
        choice: which layout it is, and why.
        pieces: the sequences of `Arrangement`, or None if the rows are the batch's.
    """

    request: Request
    bundle: Bundle
    shape: tuple[int, int]
    media: dict[str, Media]
    shown: dict[str, list[int]]
    choice: Choice
    pieces: list[list[int]] | None = None

    @property
    def chosen(self) -> str:
        """Which layout it is and why, if there was a choice."""
        if not self.choice.others:
            return ""
        return f"some batches are {self.choice.way}: by FLOPs, launches and bytes the cheapest of their layouts"

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
            masked = self.choice.way == cost.SHARED
            pieces = None if masked else Pieces(self.pieces, inputs["input_ids"].numel(), bundle)
            segments = Segments(bundle["segment"], bundle["column"], pieces)
        encoded = {}
        for kind, pictures in self.media.items():
            once = self.request.encodes_once and ("position_ids" in inputs or pictures.grids is None)
            if self.pieces is None and pictures.repeated and not once:
                inputs |= media.of_kind(batch, kind)
                continue
            found, how = media.encode(batch, kind, pictures, self.shown[kind], once)
            inputs |= found
            encoded[kind] = how
        sources = bundle["sources"] if "sources" in bundle else None
        positions, targets, owners = (bundle[name] for name in ("positions", "targets", "owners"))
        return Layout(inputs, positions, targets, owners, self.shape, sources, segments, encoded)


def lay_out(batch: Mapping[str, Any], request: Request, pictures: dict[str, Media] | None = None) -> HostLayout:
    """Choose a layout for a batch, and make it.

    Args:
        batch: as LlamaFactory's collators make it, on any device; a batch on a device is waited for.
        request: of the batch.
        pictures: of the batch by kind, if the collator knows them.
    """
    host = {name: batch[name].cpu() for name in (*PER_TOKEN, "attention_mask", "labels") if name in batch}
    labels = host["labels"].numpy()
    tokens = {kind: np.isin(host["input_ids"].numpy(), sorted(ids)) for kind, ids in request.tokens}
    pictures = media.read_media(batch, tokens) if pictures is None else pictures
    choice = Choice(cost.ROWS)
    rows: list[Row] = []
    if request.shares or request.packs:
        try:
            rows, groups = _read(batch, host, tokens, request, pictures)
            choice = choose(request, rows, groups, labels.shape[1], bool(pictures))
        except CannotShareError as error:
            refused = {name: str(error) for name in (SHARED_PREFIX, PADDING_FREE) if name in request.on}
            choice = Choice(cost.ROWS, reasons=refused)
    pictures = pictures or {}
    if choice.way == cost.ROWS:
        shown = {kind: _in_order(found, range(len(labels))) for kind, found in pictures.items()}
        return HostLayout(request, _plain(labels), _shape(labels), pictures, shown, choice)
    values = {name: host[name].numpy() for name in PER_TOKEN if name in host}
    arranged = arrange(rows, choice.groups, values, labels, choice.way == cost.PACKED)
    read = [number for group in choice.groups for number in _pictures_of(group, rows)]
    shown = {k: _in_order(found, read) for k, found in pictures.items()}
    by_pieces = choice.way != cost.SHARED
    bundle = _bundle(arranged, request.attention if by_pieces else MASKED)
    return HostLayout(request, bundle, _shape(labels), pictures, shown, choice, arranged.pieces)


def _shape(labels: np.ndarray) -> tuple[int, int]:
    return labels.shape[0], labels.shape[1] - 1


def _plain(labels: np.ndarray) -> Bundle:
    """Positions, targets and owners in the rows of the batch."""
    row, column = np.nonzero(labels[:, 1:] != IGNORED)
    found = {"positions": row * labels.shape[1] + column, "targets": labels[row, column + 1]}
    found["owners"] = row * (labels.shape[1] - 1) + column
    return Bundle.of({name: torch.from_numpy(values) for name, values in found.items()})


def _bundle(arranged: Arrangement, kind: str) -> Bundle:
    return Bundle.of(arranged.tensors | index(kind, arranged.pieces, int(np.prod(arranged.size))))


def _pictures_of(group: Group, rows: Sequence[Row]) -> list[int]:
    """The rows of a group whose pictures are read: those of its prompt, and those that nobody attends to."""
    reader = group[0][0]
    tails = [number for same in group for number in same if rows[number].tail and number != reader]
    return [reader, *tails]


def _read(
    batch: Mapping[str, Any],
    host: Mapping[str, torch.Tensor],
    tokens: Mapping[str, np.ndarray],
    request: Request,
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
    check_token_types(host.get("token_type_ids"), request.model_type)
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


def _in_order(found: Media, rows: Iterable[int]) -> list[int]:
    """The pictures of some rows as a model meets them."""
    return [picture for number in rows for picture in found.rows[number]]
