# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From recipe keys to the parameters of the chosen loss, and what is wrong with them.

Knows the loss table (imported inside functions: it needs torch).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, get_args

from .beyond import beyond_problems
from .curriculum import WARMUP, order_problems, warmup_problems
from .features import feature_cache_bytes
from .grouping import asked_grouping
from .preference import DEFAULTS, PreferenceArguments
from .reference import reference_problems
from .speedups import asked_speedups
from .weights import loss_name, mix_weights, weight_problems

if TYPE_CHECKING:
    from ..losses import LossSpec

# recipe key -> parameter of a loss function; every other parameter is given by `pref_loss_params`
LOSS_PARAMETERS = {
    "pref_beta": "beta",
    "dpo_label_smoothing": "label_smoothing",
    "simpo_gamma": "simpo_gamma",
    "uni_dpo_qual_eta": "qual_eta",
    "uni_dpo_tau_ref": "tau_ref",
    "uni_dpo_perf_gamma": "perf_gamma",
    "uni_dpo_nll_lambda": "nll_lambda",
    "uni_dpo_tau_good": "tau_good",
    "uni_dpo_detach_weights": "detach_weights",
}
MIX_KEYS = {"weights": "pref_loss_weights", "average": "dpo_average_log_prob"}  # parameter of a mix -> its key
# LlamaFactory's modifiers of any loss: key -> (lowest, highest) value; it checks none of them
MODIFIERS = {"pref_ftx": (0.0, math.inf), "pref_bco_weight": (0.0, math.inf), "ld_alpha": (0.0, 1.0)}
ENGINES = get_args(PreferenceArguments.__annotations__["pref_engine"])


def needs_reference(pref_loss: Any) -> bool:
    from ..losses import get_loss

    return get_loss(pref_loss).needs_reference


def reads_scores(pref_loss: Any) -> bool:
    from ..losses import get_loss

    return get_loss(pref_loss).needs_scores


def uses_means(values: Mapping[str, Any]) -> bool:
    """Whether the log-probabilities handed to the loss are means a token; see `dpo_average_log_prob`."""
    from ..losses import get_loss

    return get_loss(values["pref_loss"]).rule(values["dpo_average_log_prob"]) == "mean"


def loss_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword parameters for the chosen loss, from the recipe's keys and `pref_loss_params`."""
    from ..losses import MixSpec, get_loss

    spec = get_loss(values["pref_loss"])
    accepted = spec.params
    named = {name: values[key] for key, name in LOSS_PARAMETERS.items() if name in accepted and key in values}
    if uses_default_smoothing(values):
        del named["label_smoothing"]
    if isinstance(spec, MixSpec):
        named |= {"weights": mix_weights(values["pref_loss_weights"]), "average": values["dpo_average_log_prob"]}
        named = {name: value for name, value in named.items() if value is not None}
    return {**named, **(_as_dict(values["pref_loss_params"]) or {})}


def uses_default_smoothing(values: Mapping[str, Any]) -> bool:
    """Whether the loss's own label smoothing applies: robust and exo_pair without any would be other losses.

    LlamaFactory's default, 0, looks like a 0 in the recipe; for these two losses both mean "not given".
    """
    from ..losses import get_loss

    return values.get("dpo_label_smoothing") == 0 and bool(get_loss(values["pref_loss"]).params.get("label_smoothing"))


def _as_dict(given: Any) -> dict[str, Any] | None:
    """`pref_loss_params` as a dict; ValueError if it is not one."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as exc:
            raise ValueError(
                f"pref_loss_params: {given!r} is not JSON ({exc}); write it as {{discopop_tau: 0.05}} in a recipe, as "
                """'{"discopop_tau": 0.05}' on the command line"""
            ) from None
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"pref_loss_params: {given!r} is a {type(given).__name__}; give a mapping of name to value")
    return dict(given) if given is not None else None


def as_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with the numbers among ours that a recipe has in quotes as numbers."""

    def number(key: str, value: Any) -> Any:
        if key not in (*LOSS_PARAMETERS, *MODIFIERS, WARMUP) or not isinstance(value, str):
            return value
        try:
            return float(value)
        except ValueError:
            return value

    return {key: number(key, value) for key, value in values.items()}


def problems(values: Mapping[str, Any]) -> list[str]:
    """Everything wrong with the preference keys of a DPO recipe, as messages that start with the key.

    Only recipes that run on our trainer are judged; LlamaFactory judges its own.
    """
    from ..losses import get_loss, trial_problem

    values = as_numbers({**DEFAULTS, **values})
    values["pref_loss"] = loss_name(values["pref_loss"])
    found: list[str] = []
    if values["pref_engine"] not in ENGINES:
        found.append(f"pref_engine: {values['pref_engine']!r} is not one of {', '.join(ENGINES)}")
    found += engine_problems(values) + order_problems(values) + warmup_problems(values[WARMUP])
    average = values["dpo_average_log_prob"]
    if average is not None and not isinstance(average, bool):
        found.append(f"dpo_average_log_prob: {average!r} is not true or false")
    try:
        spec = get_loss(values["pref_loss"])
    except ValueError as exc:
        return [*found, f"pref_loss: {exc}"]
    try:
        given = loss_parameters(values)
    except ValueError as exc:
        return [*found, str(exc)]
    found += _misplaced_parameters(values, spec) + _modifier_problems(values) + weight_problems(values, spec)
    found += reference_problems(values, spec.needs_reference) + beyond_problems(values, spec)
    keys = _keys_of(spec)
    for name, value in given.items():
        key = keys.get(name, f"pref_loss_params.{name}")
        found += [f"{key}: {text.removeprefix(f'{spec.name}: ')}" for text in spec.param_problems({name: value})]
    smoothing = values.get("dpo_label_smoothing", 0.0)
    if smoothing and "label_smoothing" not in spec.params:
        found.append(
            f"dpo_label_smoothing: {smoothing!r} given, but pref_loss: {values['pref_loss']} has no label smoothing"
        )
    if not found and ":" in values["pref_loss"] and (problem := trial_problem(spec, given)):
        found.append(f"pref_loss: {problem}")
    return found


def engine_problems(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values of keys that every trainer of pairs of ours reads; all have to be there."""
    found = []
    checks = {
        "pref_speedups": asked_speedups,
        "image_feature_cache": feature_cache_bytes,
        "group_prompts": asked_grouping,
    }
    for key, check in checks.items():
        try:
            check(values[key])
        except ValueError as exc:
            found.append(str(exc))
    lines = values["stop_after_nonfinite"]
    if not isinstance(lines, int) or isinstance(lines, bool) or lines < 0:
        found.append(f"stop_after_nonfinite: {lines!r} is not allowed, it must be a whole number of log lines >= 0")
    return found


def _keys_of(spec: LossSpec) -> dict[str, str]:
    """Parameter of a loss -> the recipe key that it is given by."""
    from ..losses import MixSpec

    return {name: key for key, name in LOSS_PARAMETERS.items()} | (MIX_KEYS if isinstance(spec, MixSpec) else {})


def _misplaced_parameters(values: Mapping[str, Any], spec: LossSpec) -> list[str]:
    """Parameters in `pref_loss_params` that the trainer takes from elsewhere: they would have no effect."""
    cures = {name: f"use the key {key}" for name, key in _keys_of(spec).items()}
    if spec.baseline:
        cures["delta"] = "it is the running mean of the rewards, which the trainer keeps"
    given = _as_dict(values["pref_loss_params"]) or {}
    return [f"pref_loss_params.{name}: cannot be given here; {cures[name]}" for name in given if name in cures]


def _modifier_problems(values: Mapping[str, Any]) -> list[str]:
    found = []
    for key, (low, high) in MODIFIERS.items():
        value = values.get(key)
        if value is None:
            continue
        number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not (number and low <= value <= high):
            limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f">= {low:g}"
            found.append(f"{key}: {value!r} is not allowed, it must be a finite number {limits}")
    return found
