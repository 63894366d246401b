# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys that give the vision tower and the projector learning rates of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

STAGES = ("sft", "pt", "kto", "dpo", "rm", "ppo")


@dataclass
class RateKeys:
    r"""Learning rates of parts of a vision-language model, in every stage that trains."""

    vision_lr: float | None = field(
        default=None,
        metadata={
            "help": (
                "Learning rate of the vision tower; learning_rate is of all else, and the schedule scales both alike. "
                "Needs `freeze_vision_tower: false`. Unset: learning_rate."
            )
        },
    )
    projector_lr: float | None = field(
        default=None,
        metadata={
            "help": (
                "Learning rate of the projector between vision tower and language model. Needs "
                "`freeze_multi_modal_projector: false`. Unset: learning_rate."
            )
        },
    )


KEYS = tuple(f.name for f in fields(RateKeys))
DEFAULTS = {f.name: f.default for f in fields(RateKeys)}
PARTS = {"vision_lr": "vision", "projector_lr": "projector"}  # as log lines name them
FROZEN_BY = {"vision_lr": "freeze_vision_tower", "projector_lr": "freeze_multi_modal_projector"}  # both on by default
# Optimizers that update a weight by another learning rate than that of its parameter group.
_WITHOUT_GROUPS = {
    "use_badam": "BAdam changes the groups of its optimizer as it goes from block to block",
    "galore_layerwise": "layer-wise GaLore keeps an optimizer for each weight",
    "apollo_layerwise": "layer-wise APOLLO keeps an optimizer for each weight",
    "use_adam_mini": "LlamaFactory can make Adam-mini of language models only",
    "use_kt": "KTransformers has an optimizer of its own",
}
_NOT_BY_GROUPS = ("lomo", "adalomo")


def given_keys(values: Mapping[str, Any]) -> list[str]:
    """Those that a recipe sets."""
    return [key for key in KEYS if values.get(key) is not None]


def asks(values: Mapping[str, Any]) -> bool:
    """Whether a recipe sets any."""
    return bool(given_keys(values))


def rates(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that a recipe sets, by key."""
    return {key: float(values[key]) for key in given_keys(values)}


def problems(values: Mapping[str, Any]) -> list[str]:
    """Everything wrong with these keys and with what they need, as messages that start with the key.

    Args:
        values: of the recipe, as written or as parsed.
    """
    keys = given_keys(values)
    return [problem for key in keys for problem in _value_problems(key, values)] + (
        _optimizer_problems(" and ".join(keys), values) if keys else []
    )


def _value_problems(key: str, values: Mapping[str, Any]) -> list[str]:
    given, freeze = values[key], FROZEN_BY[key]
    found = []
    if not _is_rate(given):
        found.append(f"{key}: {given!r} is not allowed, it must be a finite number > 0; `{freeze}: true` trains none")
    kind = values.get("finetuning_type", "lora")
    saved_whole = kind in ("lora", "oft") and values.get("additional_target")
    if values.get(freeze, True) and not saved_whole:
        found.append(f"{key}: has no effect, because these weights are frozen; add `{freeze}: false`, or remove it")
    return found


def _is_rate(given: Any) -> bool:
    if isinstance(given, bool):
        return False
    try:
        return 0 < float(given) < math.inf
    except (TypeError, ValueError):
        return False


def _optimizer_problems(keys: str, values: Mapping[str, Any]) -> list[str]:
    found = [
        f"{key}: {why}, which cannot be given {keys}; remove one or the other"
        for key, why in _WITHOUT_GROUPS.items()
        if values.get(key)
    ]
    optim = str(getattr(values.get("optim"), "value", values.get("optim")))
    if optim in _NOT_BY_GROUPS or optim.endswith("_layerwise"):
        found.append(f"optim: {optim} does not keep learning rates of groups, which {keys} needs; take another one")
    if values.get("loraplus_lr_ratio") is not None and values.get("learning_rate") == 0:
        found.append(f"learning_rate: 0 leaves no ratio between it and {keys}, which loraplus_lr_ratio keeps")
    given = values.get("deepspeed")
    for section in _sections(given):
        where = given if isinstance(given, str) else f"{given!r:.80}"
        found.append(
            f"deepspeed: {where} has `{section}`, by which DeepSpeed gives all weights one learning rate; remove it "
            f"from there, and Transformers makes one that knows {keys}"
        )
    return found


def _sections(deepspeed: Any) -> list[str]:
    """Of a DeepSpeed configuration, those that take the place of Transformers' optimizer and schedule."""
    if isinstance(deepspeed, str):
        try:
            deepspeed = json.loads(Path(deepspeed).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []  # reported with the other names of the recipe
    return [name for name in ("optimizer", "scheduler") if isinstance(deepspeed, Mapping) and name in deepspeed]
