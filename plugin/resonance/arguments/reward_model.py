# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of reward models, `stage: rm`, and which of its recipes run on our trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from . import feedback, preference, rates
from .grouping import grouping_problems
from .parameters import engine_problems
from .places import card_problems, dataset_problems, output_problems
from .speedups import compile_problems

STAGE = "rm"
OFF = ("off", False, None)  # `off` is false in YAML
_CHOICES = {"rm_engine": ("llamafactory", "resonance"), "rm_margin": ("off", "score"), "rm_weight": ("off", "score")}
_SCALES = {"rm_margin_scale": "rm_margin", "rm_weight_eta": "rm_weight"}
# Keys of preference training that this stage reads too.
SHARED = (
    "pref_speedups", "group_prompts", "allow_missing_weights", "allow_changed_recipe", "stop_after_nonfinite",
    "record_pairs",
)  # fmt: skip


@dataclass
class RewardModelKeys:
    r"""Resonance's keys of the RM stage. Their defaults change nothing in a recipe that does not use them."""

    rm_engine: Literal["llamafactory", "resonance"] = field(
        default="llamafactory",
        metadata={
            "help": (
                "Which trainer runs stage: rm. `rm_margin: score` and `rm_weight: score` run on Resonance's trainer "
                "whatever is given here."
            )
        },
    )
    rm_margin: Literal["off", "score"] = field(
        default="off",
        metadata={
            "help": (
                "score: the reward of the chosen answer has to be above that of the rejected one by rm_margin_scale * "
                "(score_chosen - score_rejected). off: by anything."
            )
        },
    )
    rm_margin_scale: float = field(default=1.0, metadata={"help": "Rewards that a difference of 1 in scores is."})
    rm_weight: Literal["off", "score"] = field(
        default="off",
        metadata={
            "help": (
                "score: a pair's loss is multiplied by sigmoid(rm_weight_eta * (score_chosen - score_rejected)), "
                "Uni-DPO's quality weight. off: all pairs count alike."
            )
        },
    )
    rm_weight_eta: float = field(default=0.7, metadata={"help": "Eta of the weight of a pair."})


KEYS = tuple(f.name for f in fields(RewardModelKeys))
DEFAULTS = {f.name: f.default for f in fields(RewardModelKeys)}


def needs_scores(values: Mapping[str, Any]) -> bool:
    """Whether the loss reads scores."""
    return any(values.get(key) not in OFF for key in ("rm_margin", "rm_weight"))


def reads_scores(data_args: Any, finetuning_args: Any) -> bool:
    """Whether rows bring their scores along: for the loss, or, where all sets have some, for accuracies by them."""
    values = {**vars(data_args), **vars(finetuning_args)}
    declared = not values["tokenized_path"] and not dataset_problems({**values, "rm_margin": "score"})
    return needs_scores(values) or declared  # a set on disk holds what the loss of its run asked for


def runs_on_resonance(values: Mapping[str, Any]) -> bool:
    """Whether a recipe's RM stage is run by us. Missing keys take their defaults."""
    asked = values.get("rm_engine", "llamafactory") != "llamafactory" or needs_scores(values) or rates.asks(values)
    return values.get("stage") == STAGE and asked


def trains_pairs(values: Mapping[str, Any]) -> bool:
    """Whether one of our trainers of pairs runs a recipe: of this stage, of preferences, or of KTO."""
    return any(kind.runs_on_resonance(values) for kind in (preference, feedback)) or runs_on_resonance(values)


def loss_parameters(values: Mapping[str, Any]) -> dict[str, float]:
    """Keyword parameters of `losses.bradley_terry`."""
    return {
        name: float(values[key]) if values[switch] not in OFF else 0.0
        for name, key, switch in (
            ("margin_scale", "rm_margin_scale", "rm_margin"),
            ("weight_eta", "rm_weight_eta", "rm_weight"),
        )
    }


def misplaced(values: Mapping[str, Any]) -> list[str]:
    """Keys of the stage in a recipe of another one, or in one that does not read them; messages."""
    given = [key for key in KEYS if values.get(key, DEFAULTS[key]) not in (DEFAULTS[key], False)]
    if values.get("stage") != STAGE:
        return [f"{key}: has a meaning in stage: {STAGE} only" for key in given]
    return [
        f"{key}: has no effect without `{_SCALES[key]}: score`"
        for key in given
        if key in _SCALES and values.get(_SCALES[key]) in OFF
    ]


def problems(values: Mapping[str, Any]) -> list[str]:
    """Everything wrong with a recipe that our trainer of reward models runs, as messages that start with the key."""
    values = {**preference.DEFAULTS, **DEFAULTS, **values}
    found = [
        f"{key}: {values[key]!r} is not one of {', '.join(allowed)}"
        for key, allowed in _CHOICES.items()
        if values[key] not in (*allowed, *(OFF if "off" in allowed else ()))
    ]
    for key in _SCALES:
        value = values[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            found.append(f"{key}: {value!r} is not allowed, it must be a finite number > 0")
    found += engine_problems(values) + grouping_problems(values) + compile_problems(values) + card_problems(values)
    found += [f"{key}: has a meaning in stage: dpo only" for key in preference.idle_keys(values) if key not in SHARED]
    if values.get("use_kt"):
        found.append("use_kt: these keys run on Resonance's trainer, not on that back-end; remove them, or the key")
    return found + dataset_problems(values) + output_problems(values.get("output_dir"))
