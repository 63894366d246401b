# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a step would cost a GPU beside arithmetic, counted on a CPU: kernels that are launched, waits for the device.

Both follow the calling thread, through recompute and backward; call `torch.autograd.backward`, not `loss.backward()`,
which hides what it calls from `Waits`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST, DEVICE = torch.device("cpu"), torch.device("cpu", 0)
# Allocate memory or look at it in another way; nothing is launched. `_local_scalar_dense` is a wait.
_NO_KERNELS = ("empty", "new_empty", "_unsafe_view", "lift_fresh", "_local_scalar_dense", "is_same_size", "_reshape")
_READS = {"item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "numpy"}
_SIZES = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount", "equal", "allclose"}
_FROM_VALUES = {"tensor", "as_tensor", "asarray", "from_numpy"}
_TORCH = str(Path(torch.__file__).parent)


class Kernels(TorchDispatchMode):
    """Counts aten operations that are neither views nor allocations; `total` of them, `names` by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.names.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and not name.startswith(_NO_KERNELS):
            self.names[name] += 1
        return func(*args, **(kwargs or {}))


class Waits(TorchFunctionMode):
    """Counts calls at which a GPU's queue would have to drain, by the file and line that makes them.

    Tensors count as being on the device unless they came from a call that makes host tensors: `.cpu()`, a factory
    without a device, or arithmetic on such tensors alone. `device` of a tensor reads `DEVICE` or `HOST`, so that code
    which passes it on goes where it would on a GPU. A pageable copy to the device is a wait, too. What C++ does inside
    one operation is not seen, nor is what a third library decides by `is_cuda`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.places.total()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func == torch.Tensor.device.__get__:
            return HOST if _on_host(args[0]) else DEVICE
        if waits := _waits(name, args, kwargs):
            self.places[_caller()] += waits
        result = func(*args, **kwargs)
        if name == "__get__" and not isinstance(result, torch.Tensor):
            return result
        host = _result_on_host(name, args, kwargs)
        if result is not None and args and result is args[0] and host != _on_host(result):
            result = result.view_as(result)  # `.cpu()` of a CPU tensor is that tensor
        for tensor in _tensors(result):
            if host:
                tensor._on_host = True  # type: ignore[attr-defined]
        return result


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor))


def _on_host(tensor: torch.Tensor) -> bool:
    return getattr(tensor, "_on_host", False)


def _target(args: Any, kwargs: Any) -> torch.device | None:
    """The device that a call names, or the one of the tensor that `.to` and `type_as` name."""
    for value in (kwargs.get("device"), *args):
        if isinstance(value, str | torch.device) and str(value).partition(":")[0] == "cpu":
            return torch.device(value)
    return None


def _waits(name: str, args: Any, kwargs: Any) -> int:
    """How many waits a call of a torch function is."""
    first = args[0] if args and isinstance(args[0], torch.Tensor) else None
    to_device = _target(args[first is not None :], kwargs) == DEVICE
    if name in _FROM_VALUES:
        return int(to_device and (first is None or _on_host(first)))
    if name == "to" and first is not None and _on_host(first):
        other = next((v for v in args[1:] if isinstance(v, torch.Tensor)), None)
        moved = to_device or (other is not None and not _on_host(other))
        return int(moved and not kwargs.get("non_blocking"))
    if name in ("__getitem__", "__setitem__"):
        return _waits_of_an_index(args)
    if all(_on_host(tensor) for tensor in _tensors((args, kwargs))):  # or there is none
        return 0
    if name == "to":
        return int(_target(args[1:], kwargs) == HOST)
    if name == "repeat_interleave":
        counts = kwargs.get("repeats", args[1] if len(args) > 1 else first)
        return int(isinstance(counts, torch.Tensor) and kwargs.get("output_size") is None)
    if name == "where":
        return int(len(args) + len(kwargs) == 1)
    return int(name in _READS or name in _SIZES or name == "cpu")


def _waits_of_an_index(args: Any) -> int:
    """A mask has to be counted, and an index on the host is copied."""
    if _on_host(args[0]):
        return 0
    filled = len(args) == 3 and not (isinstance(args[2], torch.Tensor) and args[2].ndim)  # `x[mask] = 0` counts none
    indices = [t for t in _tensors(args[1]) if t.ndim]
    return sum(_on_host(t) or (t.dtype == torch.bool and not filled) for t in indices)


def _result_on_host(name: str, args: Any, kwargs: Any) -> bool:
    if name in ("cpu", "numpy"):
        return True
    first = bool(args) and isinstance(args[0], torch.Tensor)
    if (target := _target(args[first:], kwargs)) is not None:
        return target == HOST
    given = list(_tensors((args, kwargs)))
    if name == "to" and len(given) > 1:
        return _on_host(given[1])
    return all(map(_on_host, given))


def _caller() -> str:
    """`package/file.py:line` of the innermost frame outside torch and this file."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_TORCH, __file__)):
        frame = frame.f_back
    parts = Path(frame.f_code.co_filename).parts
    start = next((i + 1 for i, part in enumerate(parts) if part in ("site-packages", "plugin")), len(parts) - 2)
    return f"{'/'.join(parts[start:])}:{frame.f_lineno}"


Mode = TypeVar("Mode", Kernels, Waits)


def counted(mode: Mode, step: Callable[[], torch.Tensor]) -> Mode:
    """`mode` after it has followed a step and its backward."""
    with mode:
        torch.autograd.backward(step())
    return mode
