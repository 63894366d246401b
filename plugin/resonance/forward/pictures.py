# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The inputs of a vision tower one picture at a time, and a short key for what a picture consists of.

Functions of tensors only.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch

Call = tuple[tuple[Any, ...], dict[str, Any]]

_FEW = 64  # numbers beside the pixels that are taken as they are
_WIDTH, _LANES, _LEVELS = 4096, 4, 3
_PIECE = _WIDTH * 256  # words hashed at a time: bounds the memory that takes, whatever the size of a video


def split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Call] | None:
    """Arguments of a call for n pictures as those of n calls for one picture; None if they cannot be told apart.

    Pictures are the rows of the pixels (n, ..., height, width), or stretches of pixels (patches, size) that a grid
    (n, 3) of time, height and width says the lengths of. Every other tensor has a row a picture.
    """
    values: dict[Any, Any] = dict(enumerate(args)) | kwargs
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor) and value.ndim}
    floating = [value for value in tensors.values() if value.is_floating_point()]
    if len(floating) != 1 or any(isinstance(value, list | tuple | dict) for value in values.values()):
        return None
    (pixels,) = floating
    lengths = _lengths(pixels, list(tensors.values()))
    if lengths is None:
        return None
    parts: dict[Any, Any] = {}
    for name, value in tensors.items():
        if value is not pixels and len(value) != len(lengths):
            return None
        parts[name] = value.split(lengths if value is pixels else 1)
    calls = [{name: parts[name][i] if name in parts else values[name] for name in values} for i in range(len(lengths))]
    return [(tuple(c[i] for i in range(len(args))), {name: c[name] for name in kwargs}) for c in calls]


def _lengths(pixels: torch.Tensor, tensors: list[torch.Tensor]) -> list[int] | None:
    if pixels.ndim >= 4:
        return [1] * len(pixels)
    for grid in tensors:
        if not grid.is_floating_point() and grid.ndim == 2 and grid.shape[1] == 3:
            lengths = [math.prod(row) for row in grid.tolist()]
            if sum(lengths) == len(pixels):
                return lengths
    return None


def keys(calls: list[Call]) -> list[tuple[Any, ...]]:
    """What tells the picture of one call from all others: its pixels (128 bits of a hash) and the other arguments.

    Zeros at the end do not count: LLaVA-NeXT's processor fills up pictures of few tiles with them, to the most tiles
    in the batch; how many there really are follows from `image_sizes`.
    """
    pixels = [next(value for _, value in _named(call) if _is_pixels(value)) for call in calls]
    digests = torch.stack([digest(value) for value in pixels]).tolist()  # one transfer for all
    return [
        (*number, value.dtype, value.shape[2:], *map(_plain, _named(call)))
        for number, value, call in zip(digests, pixels, calls, strict=True)
    ]


def _named(call: Call) -> list[tuple[Any, Any]]:
    args, kwargs = call
    return [*enumerate(args), *sorted(kwargs.items())]


def _plain(item: tuple[Any, Any]) -> Any:
    name, value = item
    if _is_pixels(value):
        return name, None
    if isinstance(value, torch.Tensor) and value.numel() > _FEW:  # a mask of pixels
        return name, (value.shape, *digest(value).tolist())
    return name, repr(value.tolist() if isinstance(value, torch.Tensor) else value)


def _is_pixels(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def digest(values: torch.Tensor) -> torch.Tensor:
    """Hash of a tensor's bits, made where the tensor is: (4,) int64, each of 32 bits. Zeros at the end do not count.

    A tree of multilinear hashes with random 64-bit weights, modulo 2^64, of which the upper half is kept: two contents
    collide in one lane with a probability of about 2^-32, in all four, which are independent, of about 2^-128. Sums of
    integers do not depend on their order, so the result is the same on every device.
    """
    words = values.detach().contiguous().flatten()
    words = words.view({1: torch.uint8, 2: torch.int16}.get(words.element_size(), torch.int32)).long()[None]
    for weights in _weights(words.device):
        words = torch.cat([_hash_rows(piece, weights) for piece in words.split(_PIECE, 1)], 1)
    if words.shape[1] != 1:
        raise ValueError(f"a tensor of {values.numel()} elements is too large for its hash")
    return words[:, 0]


def _hash_rows(words: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(1 or lanes, N) -> (lanes, N / _WIDTH)."""
    rows = torch.nn.functional.pad(words, (0, -words.shape[1] % _WIDTH)).view(len(words), -1, _WIDTH)
    return (rows * weights[:, None]).sum(-1) >> 32


@cache
def _weights(device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape, whole = (_LEVELS, _LANES, _WIDTH), torch.iinfo(torch.int64)
    return torch.randint(whole.min, whole.max, shape, generator=generator, dtype=torch.int64).to(device)
