# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is wrong with parameter values, all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from .declare import Spec
from .ranges import Range


def nearest_first(given: str, allowed: Iterable[str]) -> str:
    """`allowed`, sorted, with the names that resemble `given` in front, as text; case and hyphens do not count."""
    names = sorted(allowed)
    written = given.lower().replace("-", "_")
    close = [name for name in names if name.lower() == written] or difflib.get_close_matches(written, names, 3, 0.5)
    text = f"nearest: {', '.join(close)}; all: " if close else ""
    return text + (", ".join(names) or "none")


def own_params(spec: Spec, params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` without those that the function lacks and whose value asks for nothing (`Spec.neutral`)."""
    neutral = spec.neutral
    return {
        name: value
        for name, value in params.items()
        if name in spec.params or name not in neutral or value != neutral[name] or isinstance(value, bool)
    }


def param_problems(spec: Spec, params: Mapping[str, object]) -> list[str]:
    """What is wrong with `params` for this function: unknown names, wrong types, values out of range."""
    problems = []
    for name, value in own_params(spec, params).items():
        if name not in spec.params:
            problems.append(f"{spec.name} has no parameter '{name}' ({nearest_first(name, spec.params)})")
            continue
        allowed = spec.allowed(name)
        right = allowed.allows(value) if isinstance(allowed, Range) else not allowed or isinstance(value, bool)
        if not right:
            problems.append(f"{spec.name}: {name}={value!r} is not allowed, it must be {allowed}")
    return problems
