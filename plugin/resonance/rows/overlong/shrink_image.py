# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`overlong: shrink_image`. The largest sizes of a row's images at which it fits, and images in them.

Sizes are found on blank images, since its size alone decides how many tokens an image becomes; the batch gets the
real ones in the same sizes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from io import BytesIO
from typing import Any

from PIL import Image

from ..encode import PairEncoder, PairIds
from ..types import Row
from ..vision.header import image_size, stored
from ..vision.opening import open_image
from .lengths import Limits

Size = tuple[int, int]
STEPS = 128  # sizes tried between the smallest and the present one
# LlamaFactory's own defaults where the processor carries no limit.
MAX_PIXELS, MIN_PIXELS = 768 * 768, 32 * 32


class CannotFitError(Exception):
    """The policy cannot make the row fit; the message is the reason."""


def shrink_images(row: Row, encoder: PairEncoder, limits: Limits) -> tuple[PairIds, list[Size]]:
    """Scale all images of a row by one factor, the largest of STEPS with which it keeps the limits.

    No image gets fewer pixels than LlamaFactory would enlarge it to again.

    Returns:
        The ids, and (width, height) of each image.

    Raises:
        CannotFitError: if the row has no images, or is too long with the smallest ones.
    """
    if not row["_images"]:
        raise CannotFitError("it has no images to make smaller")
    most = getattr(encoder.processor, "image_max_pixels", MAX_PIXELS)
    least = getattr(encoder.processor, "image_min_pixels", MIN_PIXELS)
    sizes = [scaled(size, _to_area(size, most)) for size in map(image_size, row["_images"])]
    floors = [_to_area(size, least) for size in sizes]

    def at(step: int) -> tuple[PairIds, list[Size]]:
        factor = min(floors) + (1 - min(floors)) * step / STEPS
        smaller = [scaled(size, max(factor, floor)) for size, floor in zip(sizes, floors, strict=True)]
        return encoder({**row, "_images": [Image.new("RGB", size) for size in smaller]}), smaller

    def too_long(step: int) -> bool:
        return bool(limits.exceeded_by(at(step)[0].lengths(frozenset())))

    step = bisect_left(range(STEPS), True, key=too_long) - 1
    if step < 0:
        smallest, _ = at(0)
        raise CannotFitError(f"with its images at their smallest it has {smallest.lengths(frozenset()).total} tokens")
    return at(step)


def scaled(size: Size, factor: float) -> Size:
    """Multiply both sides by a factor, rounded down, at least one pixel."""
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def _to_area(size: Size, pixels: int) -> float:
    """Return the factor for the sides that brings an image down to so many pixels; 1 if it has no more."""
    return min(1.0, math.sqrt(pixels / (size[0] * size[1])))


def resized(image: Any, size: Size) -> Image.Image:
    """Decode an image (path, bytes, mapping or PIL) and give it a size."""
    return opened(image).resize(size)


def opened(image: Any) -> Image.Image:
    """Decode an image (path, bytes, mapping or PIL)."""
    image = stored(image)
    if isinstance(image, bytes):
        image = BytesIO(image)
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    with open_image(image) as file:
        return file.convert("RGB")
