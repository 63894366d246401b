# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Types of all keys of a recipe, as LlamaFactory and Transformers declare them; their parser converts none of them."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ...arguments.names import nearest_first

_NAMES = {bool: "true or false", int: "a whole number", float: "a number"}


def value_problems(given: Mapping[str, Any], classes: Sequence[type]) -> list[str]:
    """Values that are not of the type that their key is declared with.

    Args:
        given: the recipe.
        classes: the argument classes that have its keys.
    """
    found = []
    for cls in classes:
        hints = get_type_hints(cls)
        for f in fields(cls):
            value = given.get(f.name)
            if f.name not in given or value is None or fits(value, hints[f.name]):
                continue
            found.append(f"{f.name}: {value!r} is not {_wanted(value, hints[f.name])}")
    return found


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of a YAML file is of a declared type; what is not judged fits."""
    parts = parts_of(kind)
    chosen = [part for part in parts if get_origin(part) is Literal or _is_enum(part)]
    if chosen:  # Transformers declares `SchedulerType | str`, and takes the names alone
        rest = [part for part in parts if part not in chosen and part not in (str, type(None))]
        return any(str(value) == each for each in _choices(parts)) or value is False or _fits_any(value, rest)
    return _fits_any(value, parts)


def parts_of(kind: Any) -> list[Any]:
    """The members of a union, or the type alone."""
    union = get_origin(kind) in (Union, types.UnionType)
    return [inner for part in get_args(kind) for inner in parts_of(part)] if union else [kind]


def _fits_any(value: Any, parts: Sequence[Any]) -> bool:
    return any(_fits(value, part) for part in parts)


def _fits(value: Any, kind: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return _is_number(value)
    if kind is type(None):
        return value is None
    return kind is not str or not isinstance(value, dict)  # lists are split names, numbers are text as well


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_enum(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Enum)


def _choices(parts: Sequence[Any]) -> list[str]:
    """All names that a value can be."""
    found: list[str] = []
    for part in parts:
        if get_origin(part) is Literal:
            found += map(str, get_args(part))
        elif _is_enum(part):
            found += [str(each.value) for each in part]
    return found


def _wanted(value: Any, kind: Any) -> str:
    parts = parts_of(kind)
    if choices := _choices(parts):
        return f"one of {nearest_first(value, choices)}"
    return " or ".join(
        _NAMES.get(part, getattr(part, "__name__", str(part))) for part in parts if part is not type(None)
    )
