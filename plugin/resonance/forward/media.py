# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The pictures and videos of a batch: which of them each row shows, and which are the same.

A collator that knows says so (`Media.of_occurrences`). For other batches it is read from the tokens: a picture stands
for a stretch of its row, and the processor's tensors are in the order of the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np
import torch

_ANY_MEDIA = re.compile(r"pixel_|image_|video_|second_per_grid")
# By kind: the pixels, what has their rows, what else has a row a picture, and the grids among that, of which pixels
# are stretches.
PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}
WITH_PIXELS: dict[str, tuple[str, ...]] = {"image": ("pixel_attention_mask",), "video": ()}
BESIDE = {"image": ("image_grid_thw", "image_sizes"), "video": ("video_grid_thw", "second_per_grid_ts")}
GRIDS = {"image": "image_grid_thw", "video": "video_grid_thw"}
TOKENS = {"image": ("image_token_id", "image_token_index"), "video": ("video_token_id", "video_token_index")}
KNOWN = {*PIXELS.values(), *(name for names in (BESIDE, WITH_PIXELS) for kind in names for name in names[kind])}
_SAMPLES = 16  # numbers of a row's pixels that are looked at before all of them are compared


def is_media(name: str) -> bool:
    """Whether an entry of a batch describes its pictures and videos, not its tokens."""
    return bool(_ANY_MEDIA.match(name))


@dataclass(frozen=True)
class Media:
    """Pictures of one kind, each distinct one counted once.

    Attributes:
        rows: for each row of the batch, the numbers of the pictures that it shows, in order.
        lengths: rows of the pixels that each picture has in the batch's tensor, which holds them in this order.
        beside: where each picture is in the tensors beside the pixels.
        grids: (pictures, 3) time, height and width in patches on the host, or None if the model has none.
        repeated: the batch holds pictures as often as its rows show them.
    """

    rows: list[list[int]]
    lengths: list[int]
    beside: list[int]
    grids: torch.Tensor | None = None
    repeated: bool = False

    @classmethod
    def of_occurrences(cls, rows: list[list[int]], lengths: Sequence[int], grids: torch.Tensor | None) -> Media:
        """Of a batch whose pixels hold each distinct picture once, and the tensors beside them each time it is shown.

        Args:
            rows: as `Media.rows`.
            lengths: as `Media.lengths`.
            grids: a row each time a picture is shown.
        """
        shown = [number for row in rows for number in row]
        beside = [shown.index(number) for number in range(len(lengths))]
        return cls(rows, list(lengths), beside, None if grids is None else grids[beside])


def read_media(batch: Mapping[str, Any], tokens: Mapping[str, np.ndarray]) -> dict[str, Media] | None:
    """Find the pictures of each row of a batch that holds them as often as rows show them.

    Args:
        batch: with the processor's tensors, on any device.
        tokens: by kind, which tokens of the rows stand for pictures of it, bool (R, L) on the host.

    Returns:
        By kind; None if it cannot be told which row shows which.
    """
    found = {}
    for kind, name in PIXELS.items():
        if name not in batch:
            continue
        grids = batch[GRIDS[kind]].cpu() if GRIDS[kind] in batch else None
        lengths = [1] * len(batch[name]) if grids is None else grids.prod(-1).tolist()
        rows = _deal(tokens[kind], lengths, grids is not None) if sum(lengths) == len(batch[name]) > 0 else None
        if not rows or not lengths:
            return None
        media = Media(rows, lengths, list(range(len(lengths))), grids, repeated=True)
        found[kind] = replace(media, rows=_merge_equal(media, batch, kind))
    return found


def _deal(tokens: np.ndarray, lengths: list[int], exact: bool) -> list[list[int]] | None:
    """The pictures of each row: by the number of tokens that each stands for, or by stretches of tokens.

    `exact`: whether tokens are known to be in proportion to `lengths`.
    """
    starts = tokens & ~np.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
    stretches = starts.sum(1).tolist()
    counted = None if sum(stretches) != len(lengths) else list(accumulate(stretches, initial=0))
    counts = tokens.sum(1).tolist()
    total, weight = sum(counts), sum(lengths)
    ends = {end * total: number for number, end in enumerate(accumulate(lengths, initial=0))}
    bounds = [ends.get(count * weight, -1) for count in accumulate(counts, initial=0)]
    weighed = None if -1 in bounds or not total else bounds
    found = (weighed or counted) if exact else (counted or weighed)
    return None if found is None else [list(range(a, b)) for a, b in pairwise(found)]


def _merge_equal(media: Media, batch: Mapping[str, Any], kind: str) -> list[list[int]]:
    """`media.rows`, in which a row with the pictures of an earlier row names that one's."""
    pixels, offsets = batch[PIXELS[kind]].detach(), list(accumulate(media.lengths, initial=0))
    stretches = {r: slice(offsets[row[0]], offsets[row[-1] + 1]) for r, row in enumerate(media.rows) if row}
    rowwise = [pixels, *(batch[name] for name in WITH_PIXELS[kind] if name in batch)]
    beside = [batch[name] for name in BESIDE[kind] if name in batch]
    beside = [values.tolist() if isinstance(values, torch.Tensor) else values for values in beside]
    flat, width = pixels.reshape(-1), prod(pixels.shape[1:])
    ends = [(s.start * width, s.stop * width - 1) for s in stretches.values()]
    places = torch.stack([torch.linspace(*end, _SAMPLES, dtype=torch.float64).long() for end in ends])
    samples = flat[places.to(flat.device)].float().tolist()
    seen: dict[Any, list[int]] = {}
    rows = list(media.rows)
    for (number, stretch), sample in zip(stretches.items(), samples, strict=True):
        row = rows[number]
        key = (*sample, *(media.lengths[i] for i in row), *(repr(values[i]) for values in beside for i in row))
        earlier = seen.setdefault(key, [])
        same = next((o for o in earlier if all(torch.equal(v[stretches[o]], v[stretch]) for v in rowwise)), None)
        if same is None:
            earlier.append(number)
        else:
            rows[number] = rows[same]
    return rows


@dataclass(frozen=True)
class Encoded:
    """The pictures of one kind that a model call encodes.

    Attributes:
        order: the features that the language model reads, by the number of the picture among those encoded.
        lengths: rows of the pixels of each that is encoded.
        grids: of each, on the host, or None.
    """

    order: list[int]
    lengths: list[int]
    grids: torch.Tensor | None

    @property
    def as_encoded(self) -> bool:
        """Whether the language model reads each once, in this order."""
        return self.order == list(range(len(self.lengths)))


def encode(
    batch: Mapping[str, Any], kind: str, media: Media, shown: list[int], once: bool
) -> tuple[dict[str, Any], Encoded]:
    """The inputs for the pictures of a model call.

    Args:
        batch: with the processor's tensors.
        kind: of pictures.
        media: of the batch.
        shown: the pictures in the rows of the call, in order.
        once: encode each distinct one once; else as often as it is shown.
    """
    used = sorted(set(shown)) if once else shown
    beside = [media.beside[number] for number in used]
    rowwise = (PIXELS[kind], *WITH_PIXELS[kind])
    inputs = {name: take(batch[name], used, media.lengths) for name in rowwise if name in batch}
    inputs |= {name: take(batch[name], beside) for name in BESIDE[kind] if name in batch}
    order = [used.index(number) for number in shown] if once else list(range(len(shown)))
    grids = None if media.grids is None else media.grids[used]
    return inputs, Encoded(order, [media.lengths[number] for number in used], grids)


def of_kind(batch: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The tensors of a batch that describe pictures of one kind."""
    return {name: batch[name] for name in (PIXELS[kind], *WITH_PIXELS[kind], *BESIDE[kind]) if name in batch}


def take(value: Any, numbers: Sequence[int], lengths: Sequence[int] | None = None) -> Any:
    """Parts of a tensor's or a list's rows, in order; a view where they are one stretch.

    Stretches are joined, not indexed: an index would have to be copied to the device, which the host waits for.

    Args:
        value: the tensor or list.
        numbers: of the parts.
        lengths: rows of each part; one each by default.
    """
    ends = range(len(value) + 1) if lengths is None else list(accumulate(lengths, initial=0))
    stretches: list[tuple[int, int]] = []
    for number in numbers:
        start, stop = ends[number], ends[number + 1]
        if stretches and stretches[-1][1] == start:
            start = stretches.pop()[0]
        stretches.append((start, stop))
    if stretches == [(0, len(value))]:
        return value
    parts = [value[start:stop] for start, stop in stretches] or [value[:0]]
    if isinstance(value, torch.Tensor):
        return torch.cat(parts) if len(parts) > 1 else parts[0]
    return type(value)(item for part in parts for item in part)
