# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pictures on their way into the model: no graph through a tower that does not train, and no picture encoded twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import torch

from .media import Encoded, take
from .ranks import agreed
from .tower import FEATURES, arranged, has_adapters, is_frozen, owner_of_features, tower_parameters, with_fields

# Towers that only compute lengths and positions from the grids of pictures, as Python numbers or indices on the host.
_GRIDS_ON_HOST = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")


class Encoder(Protocol):
    """Features of pictures from elsewhere (`features.FeatureCache`)."""

    def encode(self, name: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...


class SameFeatures:
    """Whether policy and reference turn a picture into the same features, so that it need be encoded once for both.

    Compared when first asked and again whenever a weight has changed. All ranks give the same answer.
    """

    def __init__(self) -> None:
        self._seen: tuple[Any, ...] = ()
        self._same = False

    def __call__(self, policy: torch.nn.Module, reference: torch.nn.Module) -> bool:
        """`reference`: another model, or the policy itself if that is used with its adapters off."""
        if not is_frozen(policy):
            return False
        if reference is policy:  # an adapter inside the tower is off in the reference
            return not has_adapters(policy)
        pair = tower_parameters(policy), tower_parameters(reference)
        seen = tuple((id(p), p._version) for parameters in pair for p in parameters)
        if seen != self._seen:
            self._seen, self._same = seen, agreed(_equal(*pair), pair[0][0].device)
        return self._same


def _equal(ours: list[torch.nn.Parameter], theirs: list[torch.nn.Parameter]) -> bool:
    def values(parameter: torch.nn.Parameter) -> torch.Tensor:
        return getattr(parameter, "ds_tensor", parameter)  # DeepSpeed ZeRO-3: this rank's part

    def same(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)

    pairs = list(zip(map(values, ours), map(values, theirs), strict=False))
    return len(ours) == len(theirs) and all(a.numel() > 0 and same(a, b) for a, b in pairs)


def one_tower(model: torch.nn.Module, body: torch.nn.Module) -> bool:
    """Whether a body of its own for a value head encodes pictures with the model's weights, which do not train."""
    return is_frozen(model) and list(map(id, tower_parameters(model))) == list(map(id, tower_parameters(body)))


@contextmanager
def pictures(
    model: torch.nn.Module,
    no_graph: bool,
    memo: dict[Any, Any] | None,
    encoded: Mapping[str, Encoded],
    cache: Encoder | None = None,
) -> Iterator[None]:
    """Within it, `model` makes features of pictures and videos with less work.

    Args:
        model: the unwrapped model.
        no_graph: without a graph while the tower does not train.
        memo: features are taken from it and kept in it, by the pixels they were made of.
        encoded: by kind, which of the pictures that are encoded the language model reads, in order.
        cache: features of earlier batches, used while the tower does not train.
    """
    owner = owner_of_features(model)
    kinds = {name: kind for kind, name in FEATURES.items() if callable(getattr(type(owner), name, None))}
    busy: list[str] = []  # Qwen3-VL's videos go through its own function for images

    def features(name: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if busy:
            return original(*args, **kwargs)
        pixels = [v for v in [*args, *kwargs.values()] if isinstance(v, torch.Tensor) and v.is_floating_point()]
        key = (name, *_identity(pixels))
        if memo is not None and key in memo:
            return memo[key][0]
        busy.append(name)
        try:
            frozen = (no_graph or cache is not None) and is_frozen(model)
            how = encoded.get(kinds[name])
            tower = None if how is None or how.grids is None else _reads_on_host(model)
            call = partial(_encoded, original)
            call = call if tower is None else partial(_with_windows_on_host, tower, call)
            call = partial(cache.encode, name, call) if cache is not None and frozen else call
            with torch.no_grad() if frozen else nullcontext():
                result = _encode(call, args, kwargs, how, tower is not None)
        finally:
            busy.pop()
        if memo is not None:
            memo[key] = result, pixels  # kept alive, or others could come to their addresses
        return result

    with _replaced(owner, {name: partial(features, name, getattr(owner, name)) for name in kinds}):
        yield


@contextmanager
def _replaced(owner: Any, functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    before = {name: vars(owner)[name] for name in functions if name in vars(owner)}  # set by somebody else
    for name, function in functions.items():
        setattr(owner, name, function)
    try:
        yield
    finally:
        for name in functions:
            delattr(owner, name)
            if name in before:
                setattr(owner, name, before[name])


def _identity(tensors: list[torch.Tensor]) -> list[Any]:
    """What tells one call's pixels from another's while they are alive, and the precision they are encoded in."""
    kind = tensors[0].device.type if tensors else "cpu"
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return [autocast, *((t.data_ptr(), t.shape, t.dtype) for t in tensors)]


def _reads_on_host(model: torch.nn.Module) -> Any:
    """The tower of a model that reads grids of pictures on the host; None for others.

    FlashAttention in a tower takes lengths on the device.
    """
    config: Any = getattr(model, "config", None)
    attention = getattr(getattr(config, "vision_config", None), "_attn_implementation", None)
    known = attention in ("sdpa", "eager") and config.model_type in _GRIDS_ON_HOST
    return getattr(owner_of_features(model), "visual", None) if known else None


def _encoded(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return with_fields(original(*args, **kwargs))


def _with_windows_on_host(tower: Any, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `original`; if it is given grids on the host, blocks with windows (Qwen2.5-VL's) read their ends there.

    Each block reads them, and would wait for the device. They are those of this call's pictures, which are one where
    a cache of features calls.
    """
    given = [v for v in [*args, *kwargs.values()] if isinstance(v, torch.Tensor) and v.device.type == "cpu"]
    grids = next((v for v in given if not v.is_floating_point() and v.ndim == 2), None)
    if grids is None or not hasattr(tower, "get_window_index"):
        return original(*args, **kwargs)
    ends = torch.tensor(tower.get_window_index(grids)[1], dtype=torch.int32).unique_consecutive()
    handles = [
        block.register_forward_pre_hook(lambda _, args, given: (args, given | {"cu_seqlens": ends}), with_kwargs=True)
        for number, block in enumerate(tower.blocks)
        if number not in tower.fullatt_block_indexes
    ]
    try:
        return original(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()


def _encode(
    original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], how: Encoded | None, on_host: bool
) -> Any:
    """Call `original` and arrange what it returns. `on_host`: with grids that are on the host."""
    if how is None:
        return original(*args, **kwargs)
    count, rows, grids = len(how.lengths), sum(how.lengths), how.grids if on_host else None

    def placed(value: Any) -> Any:
        integers = isinstance(value, torch.Tensor) and not value.is_floating_point()
        return grids if grids is not None and integers and value.shape == grids.shape else value

    def repeated(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.ndim or len(value) not in (count, rows):
            return value
        return take(value, how.order, how.lengths if len(value) == rows else None)

    once = original(*map(placed, args), **{name: placed(value) for name, value in kwargs.items()})
    if how.as_encoded:
        return once
    result = arranged(once, how.order, how.lengths)
    if result is not None:
        return result
    return original(*map(repeated, args), **{name: repeated(value) for name, value in kwargs.items()})
