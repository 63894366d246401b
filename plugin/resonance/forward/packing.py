# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""All rows of a layout in one row without padding: `padding_free`.

Functions of tensors only. Every token keeps the position that it has in its plain row, and attention
runs on one prompt with its continuations at a time (`attention.py`), so nothing of one row reaches another:

* shared rows: `[prompt 1 | continuations of 1 | prompt 2 | continuations of 2 | ...]`, pictures in this order;
* plain rows: `[row 1 | row 2 | ...]`, each a prompt and its one continuation, pictures as in the batch.

Pictures that nobody attends to stay behind their row, because the model counts picture tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from .layout import (
    NOT_SHARED,
    OUTSIDE,
    PER_TOKEN,
    PREFIX,
    CannotShareError,
    Layout,
    Segments,
    is_media,
    stands_for_media,
)


def tokens(layout: Layout) -> int:
    """How many tokens the model reads, padding included."""
    return int(layout.inputs["input_ids"].numel())


def pack(layout: Layout, media_tokens: Collection[int]) -> Layout:
    """One row. `media_tokens` are the ids that stand for parts of pictures, videos and sounds.

    Raises:
        CannotShareError: with the reason, if it is not known what is padding, or what belongs to which token.
    """
    ids = layout.inputs["input_ids"]
    attended = _attended(layout)
    tails = stands_for_media(ids.cpu(), media_tokens) & ~attended
    _check(layout, attended, tails)
    kept = attended | tails
    cells = kept.flatten().nonzero().squeeze(1)
    place = (kept.flatten().cumsum(0) - 1).to(ids.device)  # in the packed row, of each token that is kept
    there = attended.flatten().to(ids.device)
    if not bool(there[layout.positions].all()):
        raise CannotShareError("a response follows a token that nobody attends to")
    segments = _segments(layout, attended, kept, cells)
    cells = cells.to(ids.device)
    inputs = {name: value for name, value in layout.inputs.items() if is_media(name)}
    inputs |= {name: _take(layout.inputs[name], cells) for name in PER_TOKEN if name in layout.inputs}
    inputs["position_ids"] = segments.column
    if "position_ids" in layout.inputs:
        inputs["position_ids"] = _take(layout.inputs["position_ids"], cells)
    return replace(layout, inputs=inputs, positions=place[layout.positions], segments=segments)


def _take(values: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """(..., R, S) -> (..., 1, N)"""
    return values.flatten(-2)[..., cells].unsqueeze(-2)


def _attended(layout: Layout) -> torch.Tensor:
    """(R, S) on the host: what is neither padding nor a picture that nobody attends to."""
    if layout.segments is not None:
        return layout.segments.segment.cpu() != OUTSIDE
    mask = layout.inputs["attention_mask"].cpu()
    if mask.ndim != 2 or bool(((mask != 0) & (mask != 1)).any()):
        raise CannotShareError("rows are packed already")
    return mask == 1


def _check(layout: Layout, attended: torch.Tensor, tails: torch.Tensor) -> None:
    media = {name for name in layout.inputs if is_media(name)}
    if unknown := [name for name in layout.inputs if name not in (*PER_TOKEN, *NOT_SHARED, *media)]:
        raise CannotShareError(f"the batch has {unknown[0]}")
    if bool((attended & (tails.cumsum(1) > 0)).any()):
        raise CannotShareError("pictures that nobody attends to stand among other tokens")


def _segments(layout: Layout, attended: torch.Tensor, kept: torch.Tensor, cells: torch.Tensor) -> Segments:
    """Those of the packed row, made of `cells`; a plain row is a prompt without continuations."""
    widths = kept.sum(1)
    starts = (widths.cumsum(0) - widths).tolist()
    device, size = layout.inputs["input_ids"].device, attended.shape[1]
    if layout.segments is None:
        ends = attended.sum(1).tolist()
        pieces = [[start, start + end] for start, end in zip(starts, ends, strict=True) if end]
        segment = torch.where(attended.flatten()[cells], PREFIX, OUTSIDE)[None].to(device)
        return Segments(segment, (cells % size)[None].to(device), pieces, packed=True)
    # in shared rows what is attended to comes first, so a piece moves as a whole
    pieces = [[end + starts[ends[0] // size] - ends[0] for end in ends] for ends in layout.segments.pieces]
    cells = cells.to(device)
    return Segments(_take(layout.segments.segment, cells), _take(layout.segments.column, cells), pieces, packed=True)
