# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an image processor returns for images of given sizes, one function a family.

Each takes the real image processor and sizes (height, width) after LlamaFactory's own resizing, and returns what
`process_messages` reads of the outputs, with pixels that take no memory. The arithmetic is the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Sizes = Sequence[tuple[int, int]]
Outputs = Callable[..., dict[str, Any]]


class NotCountable(Exception):
    """These sizes have to be asked of the real image processor."""


def qwen_grid(image_processor: Any, sizes: Sizes, **kwargs: Any) -> dict[str, Any]:
    """Qwen2-VL, Qwen2.5-VL, Qwen3-VL: patches of each image; only the product of a grid's three numbers is read."""
    patches = [image_processor.get_number_of_image_patches(height, width, kwargs) for height, width in sizes]
    return {"image_grid_thw": np.array([[1, 1, count] for count in patches])}


def one_square(image_processor: Any, sizes: Sizes, **kwargs: Any) -> dict[str, Any]:
    """LLaVA: every image becomes one of the same size."""
    return {"pixel_values": _no_pixels(len(sizes), 3, *_output_size(image_processor))}


def tiles_of_any_resolution(image_processor: Any, sizes: Sizes, **kwargs: Any) -> dict[str, Any]:
    """LLaVA-NeXT: the processor counts from the image's size and the tile's, and unpads."""
    pixels = _no_pixels(len(sizes), 1, 3, *_output_size(image_processor))
    return {"pixel_values": pixels, "image_sizes": np.array(sizes)}


def dynamic_tiles(image_processor: Any, sizes: Sizes, **kwargs: Any) -> dict[str, Any]:
    """InternVL: how many tiles each image is cut into, the thumbnail among them."""
    tiles = [image_processor.get_number_of_image_patches(height, width, kwargs) for height, width in sizes]
    return {"num_patches": tiles, "pixel_values": torch.empty(sum(tiles), 0)}


def tiles_in_a_grid(image_processor: Any, sizes: Sizes, **kwargs: Any) -> dict[str, Any]:
    """Idefics3, SmolVLM: rows and columns of tiles. Exact if the longest edge is some whole tiles."""
    if image_processor.size["longest_edge"] % image_processor.max_image_size["longest_edge"]:
        raise NotCountable
    grids = [image_processor.get_number_of_image_patches(height, width, {})[1:] for height, width in sizes]
    return {"rows": [[rows for rows, _ in grids]], "cols": [[columns for _, columns in grids]]}


def not_asked(image_processor: Any, sizes: Sizes, **kwargs: Any) -> dict[str, Any]:
    """Gemma3: a fixed number of tokens unless pan and scan cuts the image up, which we leave to the real processor.

    Idefics2: a fixed number.
    """
    raise NotCountable


# By the exact class of the plugin: what derives from one may count in another way.
FAMILIES: dict[str, Outputs] = {
    "Qwen2VLPlugin": qwen_grid,
    "Qwen3VLPlugin": qwen_grid,
    "LlavaPlugin": one_square,
    "LlavaNextPlugin": tiles_of_any_resolution,
    "InternVLPlugin": dynamic_tiles,
    "Gemma3Plugin": not_asked,
    "Idefics2Plugin": not_asked,
    "Idefics3Plugin": tiles_in_a_grid,
}


def _output_size(image_processor: Any) -> tuple[int, int]:
    if getattr(image_processor, "do_center_crop", False):
        return _sides(image_processor.crop_size)
    if getattr(image_processor, "do_resize", False):
        return _sides(image_processor.size)
    raise NotCountable


def _sides(size: Any) -> tuple[int, int]:
    """Return (height, width) of a mapping or of Transformers' SizeDict, which has None for a key it lacks."""
    try:
        height, width = size["height"], size["width"]
    except KeyError:
        raise NotCountable from None
    if height is None or width is None:
        raise NotCountable
    return height, width


def _no_pixels(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.float32(0), shape)
