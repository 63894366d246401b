# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Each distinct image of a batch is read, resized and normalised once.

LlamaFactory's collator lists the images of a batch of pairs twice, for the chosen and for the rejected rows, and an
image may stand in several rows: as a path, as bytes, or decoded for each row anew. Its plugins hand the list to a
processor in `_get_mm_inputs`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from PIL import Image

SHOWN = "shown_images"  # entry of a batch whose pixels hold each image once: `Shown` by kind
_PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}
_GRIDS = {"image": "image_grid_thw", "video": "video_grid_thw"}
TILES = "image_num_patches"  # InternVL's and Idefics': rows of pixels an image
_WITH_PIXELS = {"image": {"pixel_attention_mask"}, "video": set[str]()}  # has the rows that the pixels have
# What else processors return of which every entry belongs to one image or video, in their order.
_BESIDE = {
    "image": {"image_grid_thw", "image_sizes", TILES},
    "video": {"video_grid_thw", "second_per_grid_ts"},
}


@dataclass(frozen=True)
class Shown:
    """Images, or videos. `order`: the number of the image that comes next, as rows show them; `lengths`: rows of
    the pixels of each image."""

    order: list[int]
    lengths: list[int]

    def by_row(self, counts: Iterable[int]) -> list[list[int]]:
        """`order`, in parts of `counts` images."""
        ends = list(accumulate(counts, initial=0))
        return [self.order[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def reading_once(plugin: Any, keep_once: Callable[[], bool]) -> Any:
    """A copy of LlamaFactory's multimodal plugin that processes each distinct image once.

    Its batches are the same, or, if `keep_once()`, hold the pixels of each distinct image once and SHOWN.
    """
    result = copy.copy(plugin)
    result._get_mm_inputs = partial(_process_once, plugin._get_mm_inputs, keep_once)
    if hasattr(result, "tiles_as_rows"):  # Idefics'
        result.tiles_as_rows = True
    return result


def _process_once(
    process: Callable[..., Any],
    keep_once: Callable[[], bool],
    images: list[Any],
    videos: list[Any],
    audios: list[Any],
    processor: Any,
    **kwargs: Any,
) -> Any:
    given = {"image": images, "video": videos}
    numbers = {kind: _numbers(media) for kind, media in given.items()}
    repeated = any(len(set(order)) < len(order) for order in numbers.values())
    if audios or kwargs or not (repeated or keep_once()):
        return process(images, videos, audios, processor, **kwargs)
    distinct = {
        kind: [media[numbers[kind].index(n)] for n in sorted(set(numbers[kind]))] for kind, media in given.items()
    }
    found = process(distinct["image"], distinct["video"], audios, processor)
    known = {*_PIXELS.values(), *(name for names in (_BESIDE, _WITH_PIXELS) for kind in names for name in names[kind])}
    lengths = {kind: _lengths(found, kind, len(media)) for kind, media in distinct.items() if media}
    if not set(found) <= known or not all(lengths.values()):
        return process(images, videos, audios, processor) if repeated else found
    result = dict(found)
    for kind in lengths:
        for name in _BESIDE[kind] & set(found):
            result[name] = _take(found[name], numbers[kind], [1] * len(distinct[kind]))
        for name in ({_PIXELS[kind]} | _WITH_PIXELS[kind]) & set(found) if not keep_once() else ():
            result[name] = _take(found[name], numbers[kind], lengths[kind])
    if keep_once():
        result[SHOWN] = {kind: Shown(numbers[kind], rows) for kind, rows in lengths.items()}
    return result


def _numbers(media: list[Any]) -> list[int]:
    """For each medium the number of the first one that it is equal to, counted without gaps."""
    objects = {id(medium): medium for medium in media}
    if len(objects) == 1:
        return [0] * len(media)
    known: dict[Any, int] = {}
    numbers = {name: known.setdefault(_identity(medium), len(known)) for name, medium in objects.items()}
    return [numbers[id(medium)] for medium in media]


def _identity(medium: Any) -> Any:
    """What two media that are equal have in common: path or bytes if they are on disk, of decoded images all that
    Pillow compares; others are equal to themselves only."""
    if isinstance(medium, Mapping):
        return _identity(medium["bytes"] if medium.get("bytes") is not None else medium.get("path"))
    if isinstance(medium, Image.Image):
        return medium.mode, medium.size, repr(medium.info), str(medium.getpalette()), medium.tobytes()
    if isinstance(medium, str | bytes):
        return medium
    return os.fspath(medium) if isinstance(medium, os.PathLike) else id(medium)


def _lengths(found: Mapping[str, Any], kind: str, count: int) -> list[int]:
    """Rows of the pixels of each of `count` images; none if they cannot be told apart."""
    pixels = found.get(_PIXELS[kind])
    if pixels is None:
        return []
    if _GRIDS[kind] in found:
        lengths = found[_GRIDS[kind]].prod(-1).tolist()
    else:
        lengths = [int(n) for n in found[TILES]] if kind == "image" and TILES in found else [1] * count
    return lengths if len(lengths) == count and sum(lengths) == len(pixels) else []


def _take(value: Any, order: Sequence[int], lengths: Sequence[int]) -> Any:
    """Parts of a tensor's or a list's rows, each of `lengths` rows, in `order`."""
    ends = list(accumulate(lengths, initial=0))
    parts = [value[ends[number] : ends[number + 1]] for number in order]
    return torch.cat(parts) if isinstance(value, torch.Tensor) else [item for part in parts for item in part]
