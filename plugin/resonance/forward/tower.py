# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The vision tower of a model: where it is, whether it trains, and the shape of its features.

The tower is everything under the module that owns `get_image_features`, except its language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .media import take
from .walk import modules_of

FEATURES = {"image": "get_image_features", "video": "get_video_features"}
_UNUSED = ("hidden_states", "attentions")  # of the tower's layers; models read them before they return features


# Where it is in a model: a model has thousands of modules, and this is asked several times a step.
_owners: WeakKeyDictionary[torch.nn.Module, str | None] = WeakKeyDictionary()
# An owner's children, and those of them that are not the language model.
_towers: WeakKeyDictionary[Any, tuple[tuple[torch.nn.Module, ...], list[torch.nn.Module]]] = WeakKeyDictionary()


def owner_of_features(model: torch.nn.Module) -> torch.nn.Module | None:
    """The innermost module with `get_image_features`, which is the one that the forward pass calls."""
    if model not in _owners:
        found: str | None = None
        for name, module in model.named_modules():  # from the outermost in, and not into another model that is in it
            inside = not found or name.startswith(f"{found}.")
            if inside and callable(getattr(type(module), FEATURES["image"], None)):
                found = name
        _owners[model] = found
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


def switch_off_dropout(model: torch.nn.Module) -> bool:
    """Set every dropout to 0, for good; False if all were."""
    found = dropout(model) is not None
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name in [k for k, v in vars(module).items() if "drop" in k and isinstance(v, float)]:
            setattr(module, name, 0.0)
    return found


def has_adapters(model: torch.nn.Module) -> bool:
    """Whether the tower has adapters, which may be on for one model call and off for the next."""
    return any(hasattr(type(m), "adapter_layer_names") for t in tower_modules(model) for m in modules_of(t))


def arranged(features: Any, order: Sequence[int], lengths: Sequence[int]) -> Any:
    """Features of some pictures in another order, some of them several times; None for an unknown structure.

    Args:
        features: of a call for all pictures.
        order: the number of the picture whose features come next.
        lengths: rows of the pixels of each picture.
    """
    if hasattr(features, "keys"):  # a ModelOutput
        found = features.get("pooler_output")  # where Transformers puts what the language model reads
        tokens = [len(part) for part in found] if isinstance(found, tuple | list) else lengths
        fields = {}
        for name in features.keys():
            if name in ("last_hidden_state", *_UNUSED):
                continue
            counts = tokens if name != "pooler_output" and isinstance(features[name], tuple | list) else lengths
            fields[name] = _arranged(features[name], order, counts, one_each=name == "pooler_output")
        return type(features)(**fields) if found is not None and None not in fields.values() else None
    return _arranged(features, order, lengths, one_each=True)


def _arranged(values: Any, order: Sequence[int], lengths: Sequence[int], one_each: bool) -> Any:
    """`one_each`: a tuple has a tensor a picture; else one a layer, over the tokens of all pictures."""
    if isinstance(values, torch.Tensor):
        if len(values) == len(lengths):
            return take(values, order)
        return take(values, order, lengths) if len(values) == sum(lengths) else None
    if not isinstance(values, tuple | list) or not all(isinstance(item, torch.Tensor) for item in values):
        return None
    if not one_each:
        return type(values)(take(layer, order, lengths) for layer in values)
    return type(values)(values[number] for number in order) if len(values) == len(lengths) else None


def with_fields(features: Any) -> Any:
    """Features whose `pooler_output` is one of their fields, with a row for each that was encoded.

    Idefics' stand beside the fields, where no copy finds them, and Idefics2's are the tokens of all pictures in a row.
    """
    found = getattr(features, "pooler_output", None)
    if found is None or "pooler_output" in features:
        return features
    rows = len(features.last_hidden_state)
    found = found if len(found) == rows else found.unflatten(0, (rows, -1))
    return BaseModelOutputWithPooling(last_hidden_state=features.last_hidden_state, pooler_output=found)


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
