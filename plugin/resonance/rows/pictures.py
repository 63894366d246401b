# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A picture that both responses of a pair show is read, resized and normalised once.

LlamaFactory's collator lists the pictures of a batch of pairs twice, for the chosen and for the rejected rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

# What processors return of which every entry belongs to one picture or video, in their order.
_PER_PICTURE = {
    "pixel_values",
    "image_grid_thw",
    "image_sizes",
    "pixel_values_videos",
    "video_grid_thw",
    "second_per_grid_ts",
}


def reading_once(plugin: Any) -> Any:
    """A copy of LlamaFactory's multimodal plugin whose batches are the same, made with half the work."""
    result = copy.copy(plugin)
    result._get_mm_inputs = partial(_process_once, plugin._get_mm_inputs)
    return result


def _process_once(
    process: Callable[..., Any], images: list, videos: list, audios: list, processor: Any, **kwargs: Any
) -> Any:
    """Process the first half of media whose second half is the same again, and repeat the result."""
    if not audios and not kwargs and (images or videos) and _repeats(images) and _repeats(videos):
        half = process(images[: len(images) // 2], videos[: len(videos) // 2], audios, processor)
        if set(half) <= _PER_PICTURE:
            return {name: _twice(value) for name, value in half.items()}
    return process(images, videos, audios, processor, **kwargs)


def _repeats(media: list) -> bool:
    half = len(media) // 2
    return len(media) % 2 == 0 and all(a is b for a, b in zip(media[:half], media[half:], strict=True))


def _twice(value: Any) -> Any:
    return torch.cat([value, value]) if isinstance(value, torch.Tensor) else [*value, *value]
