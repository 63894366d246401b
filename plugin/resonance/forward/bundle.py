# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Integer tensors by name that lie in one flat tensor, so that one copy brings all of them to a device."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch

Place = tuple[int, tuple[int, ...], torch.dtype]  # first word, shape, type


class Bundle:
    """Named views of one flat int64 tensor.

    It has the methods that `DataLoader` and Accelerate call on what they find in a batch.

    Args:
        flat: (N,) int64.
        places: where each tensor is.
    """

    def __init__(self, flat: torch.Tensor, places: Mapping[str, Place]) -> None:
        self.flat, self.places = flat, dict(places)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> Bundle:
        """Copy int64 and int32 tensors of the host into one."""
        places: dict[str, Place] = {}
        words = [torch.empty(0, dtype=torch.int64)]
        at = 0
        for name, tensor in tensors.items():
            if tensor.dtype not in (torch.int64, torch.int32):
                raise TypeError(f"{name} is {tensor.dtype}; a bundle holds int64 and int32")
            row = tensor.contiguous().flatten()
            if tensor.dtype == torch.int32:
                row = torch.nn.functional.pad(row, (0, len(row) % 2)).view(torch.int64)
            places[name] = (at, tuple(tensor.shape), tensor.dtype)
            words.append(row)
            at += len(row)
        return cls(torch.cat(words), places)

    def __getitem__(self, name: str) -> torch.Tensor:
        at, shape, dtype = self.places[name]
        count = prod(shape)
        if dtype == torch.int32:
            return self.flat[at : at + (count + 1) // 2].view(dtype)[:count].view(shape)
        return self.flat[at : at + count].view(shape)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    @property
    def device(self) -> torch.device:
        return self.flat.device

    def pin_memory(self) -> Bundle:
        """As a tensor's, for copies that the host does not wait for."""
        return Bundle(self.flat.pin_memory(), self.places)

    def to(self, device: Any, non_blocking: bool = False) -> Bundle:
        """The same on `device`; itself if it is there."""
        flat = self.flat.to(device, non_blocking=non_blocking)
        return self if flat is self.flat else Bundle(flat, self.places)
