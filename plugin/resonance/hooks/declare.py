# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How the lists of patches are written: a scope, a name of LlamaFactory, what takes its place, what is relied on."""

from __future__ import annotations

from typing import Any

from .. import TESTED_LLAMAFACTORY
from .patch import Patch, Scope


def always(scope: Scope, target: str, replacement: str, parameters: tuple[str, ...], **more: Any) -> Patch:
    """A patch whose replacement is a function of always.py; the other arguments are those of `Patch`."""
    return in_run(scope, target, f"hooks.always:{replacement}", parameters, always=True, **more)


def in_run(scope: Scope, target: str, replacement: str, parameters: tuple[str, ...], **more: Any) -> Patch:
    """A patch whose replacement is `room.module:name` of ours; the other arguments are those of `Patch`."""
    return Patch(target, f"resonance.{replacement}", scope, parameters, versions=TESTED_LLAMAFACTORY, **more)
