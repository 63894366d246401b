# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pictures on their way into the model: no graph through a tower that does not train, and no picture encoded twice.

The tower is everything under the module that owns `get_image_features`, except its language model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from .ranks import agreed
from .walk import modules_of

if TYPE_CHECKING:
    from .features import FeatureCache

_FEATURES = ("get_image_features", "get_video_features")
_UNUSED = ("hidden_states", "attentions")  # of the tower's layers; models read them before they return features


# Where it is in a model: a model has thousands of modules, and this is asked several times a step.
_owners: WeakKeyDictionary[torch.nn.Module, str | None] = WeakKeyDictionary()
# An owner's children, and those of them that are not the language model.
_towers: WeakKeyDictionary[Any, tuple[tuple[torch.nn.Module, ...], list[torch.nn.Module]]] = WeakKeyDictionary()


def owner_of_features(model: torch.nn.Module) -> torch.nn.Module | None:
    """The innermost module with `get_image_features`, which is the one that the forward pass calls."""
    if model not in _owners:
        found = [name for name, m in model.named_modules() if callable(getattr(type(m), _FEATURES[0], None))]
        _owners[model] = max(found, key=len, default=None)
    name = _owners[model]
    return None if name is None else model.get_submodule(name)


def tower_modules(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Children of the owner that are not the language model: tower and projector."""
    owner = owner_of_features(model)
    if owner is None:
        return []
    children = tuple(owner.children())
    known = _towers.get(owner)
    if known is None or known[0] != children:
        ends: Any = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[operator]
        language = {id(module) for module in ends if module is not None}
        towers = [child for child in children if not any(id(m) in language for m in child.modules())]
        known = _towers[owner] = children, towers
    return known[1]


def tower_parameters(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Their parameters and the owner's own, such as LLaVA-NeXT's `image_newline`."""
    owner = owner_of_features(model)
    own = list(owner.parameters(recurse=False)) if owner is not None else []
    modules = [module for tower in tower_modules(model) for module in modules_of(tower)]
    return own + [p for module in modules for p in module._parameters.values() if p is not None]


def is_frozen(model: torch.nn.Module) -> bool:
    """Whether no parameter of the tower trains at this moment. False if there is none to see, as under FSDP."""
    parameters = tower_parameters(model)
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def dropout(model: torch.nn.Module) -> str | None:
    """The first dropout that is not 0, by name."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd) and module.p > 0:
            return name
        rates = {k: v for k, v in vars(module).items() if "drop" in k and isinstance(v, float) and v > 0}
        if rates:
            return f"{name}.{next(iter(rates))}"
    return None


def has_adapters(model: torch.nn.Module) -> bool:
    """Whether the tower has adapters, which may be on for one model call and off for the next."""
    return any(hasattr(type(m), "adapter_layer_names") for t in tower_modules(model) for m in modules_of(t))


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


@contextmanager
def pictures(
    model: torch.nn.Module,
    no_graph: bool,
    memo: dict[Any, Any] | None,
    copies: int,
    cache: FeatureCache | None = None,
) -> Iterator[None]:
    """Within it, `model` makes features of pictures and videos with less work.

    `no_graph`: without a graph while the tower does not train. `memo`: features are taken from it and kept in it, by
    the pixels they were made of. `copies`: the pixels are that many equal parts, one of which is encoded. `cache`:
    features of earlier batches, used while the tower does not train.
    """
    owner = owner_of_features(model)
    names = [name for name in _FEATURES if owner is not None and callable(getattr(type(owner), name, None))]
    busy: list[str] = []  # Qwen3-VL's videos go through its own function for images

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def features(*args: Any, **kwargs: Any) -> Any:
            if busy:
                return original(*args, **kwargs)
            pixels = [v for v in [*args, *kwargs.values()] if isinstance(v, torch.Tensor) and v.is_floating_point()]
            key = (name, *_identity(pixels))
            if memo is not None and key in memo:
                return memo[key][0]
            busy.append(name)
            try:
                frozen = (no_graph or cache is not None) and is_frozen(model)
                encode = original if cache is None or not frozen else partial(cache.encode, name, original)
                with torch.no_grad() if frozen else nullcontext():
                    result = _encode(encode, args, kwargs, copies)
            finally:
                busy.pop()
            if memo is not None:
                memo[key] = result, pixels  # kept alive, or others could come to their addresses
            return result

        return features

    before = {name: vars(owner)[name] for name in names if name in vars(owner)}  # set by somebody else
    for name in names:
        setattr(owner, name, wrap(name, getattr(owner, name)))
    try:
        yield
    finally:
        for name in names:
            delattr(owner, name)
            if name in before:
                setattr(owner, name, before[name])


def _identity(tensors: list[torch.Tensor]) -> list[Any]:
    """What tells one call's pixels from another's while they are alive, and the precision they are encoded in."""
    kind = tensors[0].device.type if tensors else "cpu"
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return [autocast, *((t.data_ptr(), t.shape, t.dtype) for t in tensors)]


def _encode(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], copies: int) -> Any:
    def part(value: Any) -> Any:
        return value[: len(value) // copies] if isinstance(value, torch.Tensor) and value.ndim else value

    if copies == 1:
        return original(*args, **kwargs)
    once = original(*map(part, args), **{name: part(value) for name, value in kwargs.items()})
    repeated = _repeat(once, copies)
    return original(*args, **kwargs) if repeated is None else repeated


def _repeat(features: Any, copies: int) -> Any:
    """Features as they are for pictures repeated block by block; None for a structure that is not known."""
    return join([features] * copies)


def join(parts: Sequence[Any]) -> Any:
    """Features of several calls as one call with all their pictures gives them; None for an unknown structure."""
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(tuple(parts))
    if hasattr(first, "keys"):  # a ModelOutput
        return type(first)(**{name: _join_field(name, [part[name] for part in parts]) for name in first.keys()})
    if isinstance(first, tuple | list) and all(isinstance(item, torch.Tensor) for item in first):
        return type(first)(item for part in parts for item in part)  # one tensor a picture
    return None


def _join_field(name: str, values: list[Any]) -> Any:
    if name in _UNUSED or values[0] is None:
        return None
    if isinstance(values[0], torch.Tensor):
        return torch.cat(values)
    if name == "pooler_output":  # one tensor a picture
        return type(values[0])(item for value in values for item in value)
    return type(values[0])(map(torch.cat, zip(*values, strict=True)))  # one tensor a layer, over all pictures
