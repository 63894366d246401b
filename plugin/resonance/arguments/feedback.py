# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of KTO, `stage: kto`, and which of its recipes run on our trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, Literal

from . import preference
from .grouping import grouping_problems
from .parameters import engine_problems
from .places import card_problems, dataset_problems, output_problems
from .reference import reference_problems
from .speedups import compile_problems

STAGE = "kto"
_ENGINES = ("llamafactory", "resonance")
# Keys that LlamaFactory's trainer cannot do, about rows and about the reference.
_ASKING = ("overlong", "max_prompt_length", "max_target_length", "sample_weights", "precompute_ref_log_probs")
# Keys of preference training that this stage reads too.
SHARED = (
    "pref_speedups", "image_feature_cache", "group_prompts", "allow_missing_weights", "allow_changed_recipe",
    "stop_after_nonfinite", "sample_weights", "precompute_ref_log_probs", "ref_log_probs_dir", "precompute_only",
)  # fmt: skip
# LlamaFactory's keys of the loss: key -> (default, least value, whether that is allowed)
_NUMBERS = {
    "pref_beta": (0.1, 0.0, False),
    "kto_chosen_weight": (1.0, 0.0, True),
    "kto_rejected_weight": (1.0, 0.0, True),
    "pref_ftx": (0.0, 0.0, True),
}
_NOT_READ = ("packing", "neat_packing", "train_on_prompt", "mask_history")


@dataclass
class FeedbackKeys:
    r"""Resonance's keys of the KTO stage. Their defaults change nothing in a recipe that does not use them."""

    kto_engine: Literal["llamafactory", "resonance"] = field(
        default="llamafactory",
        metadata={
            "help": (
                "Which trainer runs stage: kto. `overlong`, `max_prompt_length`, `max_target_length`, "
                "`sample_weights` and `precompute_ref_log_probs` run on Resonance's trainer whatever is given here."
            )
        },
    )


KEYS = tuple(f.name for f in fields(FeedbackKeys))
DEFAULTS = {f.name: f.default for f in fields(FeedbackKeys)}


def runs_on_resonance(values: Mapping[str, Any]) -> bool:
    """Whether a recipe's KTO stage is run by us. Missing keys take their defaults."""
    if values.get("stage") != STAGE:
        return False
    asked = any(values.get(key) not in (None, False) for key in _ASKING)
    return asked or values.get("kto_engine", "llamafactory") != "llamafactory"


def loss_parameters(values: Mapping[str, Any]) -> dict[str, float]:
    """Keyword parameters of `losses.kto_unpaired`."""
    return {
        "beta": float(values["pref_beta"]),
        "chosen_weight": float(values["kto_chosen_weight"]),
        "rejected_weight": float(values["kto_rejected_weight"]),
    }


def misplaced(values: Mapping[str, Any]) -> list[str]:
    """Keys of the stage in a recipe of another one; messages."""
    given = [key for key in KEYS if values.get(key, DEFAULTS[key]) != DEFAULTS[key]]
    return [f"{key}: has a meaning in stage: {STAGE} only" for key in given if values.get("stage") != STAGE]


def idle_problem(key: str, stage: str) -> str:
    """What is wrong with a key of preference training in a recipe that LlamaFactory runs alone."""
    if stage == STAGE and key in SHARED:
        return f"{key}: LlamaFactory's trainer of KTO does not read it; add `kto_engine: resonance`, or remove it"
    return f"{key}: has a meaning in stage: dpo only"


def problems(values: Mapping[str, Any]) -> list[str]:
    """Everything wrong with a recipe that our KTO trainer runs, as messages that start with the key."""
    values = {**preference.DEFAULTS, **DEFAULTS, **values}
    found = []
    if values["kto_engine"] not in _ENGINES:
        found.append(f"kto_engine: {values['kto_engine']!r} is not one of {', '.join(_ENGINES)}")
    if not isinstance(values["sample_weights"], bool):
        found.append(f"sample_weights: {values['sample_weights']!r} is not true or false")
    found += _number_problems(values) + engine_problems(values) + grouping_problems(values)
    found += compile_problems(values) + card_problems(values) + reference_problems(values, needs_reference=True)
    found += [idle_problem(key, "") for key in preference.idle_keys(values) if key not in SHARED]
    found += [f"{key}: has no meaning in stage: {STAGE}; remove it" for key in _NOT_READ if values.get(key)]
    if values.get("use_kt"):
        found.append("use_kt: these keys run on Resonance's trainer, not on that back-end; remove them, or the key")
    if preference.evaluates_only(values) and values.get("ref_model") is None:
        found.append(
            "ref_model: evaluating KTO without training needs a reference model, or the policy would be compared with "
            "itself; give its path"
        )
    return found + dataset_problems(values) + output_problems(values.get("output_dir"))


def _number_problems(values: Mapping[str, Any]) -> list[str]:
    found = []
    for key, (default, least, reached) in _NUMBERS.items():
        value = values.get(key, default)
        number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not (number and (value > least or (reached and value == least))):
            found.append(f"{key}: {value!r} is not allowed, it must be a finite number {'>=' if reached else '>'} 0")
    if not found and not values.get("kto_chosen_weight", 1.0) and not values.get("kto_rejected_weight", 1.0):
        found.append("kto_chosen_weight: 0, and kto_rejected_weight: 0: nothing would be learned; give one of them")
    return found
