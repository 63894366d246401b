# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys that name a run for Weights & Biases; its own name is Transformers' `run_name`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

# What wandb reads, because Transformers passes neither on.
_VARIABLES = {"project_name": "WANDB_PROJECT", "group_name": "WANDB_RUN_GROUP"}


@dataclass
class TrackingKeys:
    r"""Keys for `report_to: wandb`, in every stage."""

    project_name: str | None = field(
        default=None,
        metadata={"help": "Project of Weights & Biases. Unset: WANDB_PROJECT, or LlamaFactory's `llamafactory`."},
    )
    group_name: str | None = field(
        default=None, metadata={"help": "Group of runs in the project of Weights & Biases. Unset: WANDB_RUN_GROUP."}
    )


KEYS = tuple(f.name for f in fields(TrackingKeys))
DEFAULTS = {f.name: f.default for f in fields(TrackingKeys)}


def given_keys(values: Mapping[str, Any]) -> list[str]:
    """Those that a recipe sets."""
    return [key for key in KEYS if values.get(key) is not None]


def unread(values: Mapping[str, Any], report_to: Any) -> list[str]:
    """Keys that nothing reads, because wandb is not reported to."""
    keys = given_keys(values)
    if not keys or "wandb" in (report_to or ()):
        return []
    return [f"{', '.join(keys)}: no effect: only wandb reads it; set `report_to: wandb`, or remove it."]


@contextmanager
def named(values: Mapping[str, Any]) -> Iterator[None]:
    """Within the block, wandb finds project and group of a recipe in the environment."""
    keys = given_keys(values)
    before = {name: os.environ.get(name) for name in _VARIABLES.values()}
    os.environ.update({_VARIABLES[key]: str(values[key]) for key in keys})
    try:
        yield
    finally:
        for name, value in before.items() if keys else ():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
