# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipe key `pref_speedups`: what was asked for. Knows only the names."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ..forward.names import SPEEDUPS

AUTO, OFF = "auto", "off"
_ALLOWED = f"allowed: {AUTO}, {OFF}, or a list of {', '.join(reversed(SPEEDUPS))}"


def asked_speedups(given: Any) -> frozenset[str]:
    """The speed-ups that a recipe allows.

    Raises:
        ValueError: for anything but `auto`, `off` (which YAML reads as false) and names, as a list or with commas.
    """
    names = [given] if isinstance(given, bool) else given
    if isinstance(given, str):
        names = [name.strip() for name in given.split(",")]
    if names in ([AUTO], [OFF], [False]):
        return frozenset(SPEEDUPS) if names == [AUTO] else frozenset()
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"pref_speedups: {given!r} is not understood; {_ALLOWED}")
    if unknown := [name for name in names if name not in SPEEDUPS]:
        near = [hit for name in unknown for hit in get_close_matches(str(name), (*SPEEDUPS, AUTO, OFF), n=1)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"pref_speedups: {', '.join(map(repr, unknown))} is no speed-up; {hint}{_ALLOWED}")
    return frozenset(names)


def compile_problems(values: Mapping[str, Any]) -> list[str]:
    """Keys of torch.compile, in which our trainers cannot work."""
    return [
        f"{key}: Resonance's trainer puts its own functions in place of parts of the model for a call, which "
        "torch.compile cannot trace; remove the key"
        for key in ("torch_compile", "torch_compile_backend", "torch_compile_mode")
        if values.get(key)
    ]
