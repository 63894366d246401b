# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Everything that is wrong with the keys of a `stage: ppo` recipe, and what in it may not be meant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..policy import AGGREGATIONS, KLS, PRESETS, Preset, get_advantage, get_policy_loss
from ..rewards import reward_problems
from ..spec import nearest_first, param_problems
from . import critic_copy, preference, server_checks
from .policy import DEFAULTS
from .policy_settings import FIELDS, PARAMETERS, SAMPLING, as_mapping, make_preset, reward_entries

CORRECTIONS = ("off", "token-truncate", "token-mask", "sequence-truncate", "sequence-mask")
# LlamaFactory's keys of its own PPO and of its chat that have no meaning here, and what to write instead.
NOT_READ = {
    "reward_model": "completions are rewarded by `rewards`; remove the key",
    "reward_model_adapters": "completions are rewarded by `rewards`; remove the key",
    "reward_model_quantization_bit": "completions are rewarded by `rewards`; remove the key",
    "max_length": "the limit of a completion is max_new_tokens",
    "length_penalty": "rollouts are sampled, not searched; remove the key",
    "do_predict": "an evaluation generates too: `do_eval: true`",
    "pissa_init": "it changes the base model, which would be no reference with the adapters off; remove the key",
}
# Keys of preference training that this stage reads too.
SHARED = ("pref_speedups", "allow_missing_weights", "allow_changed_recipe", "stop_after_nonfinite")
# Keys that would make rollouts another policy's, and their only value.
ONLY = {"do_sample": True, "num_beams": 1, "repetition_penalty": 1.0, "skip_special_tokens": True}
WHOLE = {  # key -> least value
    "num_generations": 1,
    "ppo_buffer_size": 1,
    "ppo_epochs": 1,
    "rollout_batch_size": 1,
    "kl_horizon": 1,
    "dynamic_sampling_tries": 1,
    "overlong_buffer": 0,
    "eval_num_generations": 0,
    "rollout_concurrency": 1,
    "rollout_ahead": 0,
    "max_new_tokens": 1,
    "top_k": 0,
}
NUMBERS = {  # key -> least value, None for any finite one
    "kl_coef": 0.0,
    "vf_coef": 0.0,
    "entropy_coef": None,
    "overlong_penalty": 0.0,
    "critic_learning_rate": 0.0,
    "rollout_correction_threshold": 1.0,
    "ppo_target": 0.0,
    "rollout_timeout": 1.0,
    "rollout_wait": 0.0,
    "rollout_logp_limit": 0.0,
}
NAMES = {
    "loss_aggregation": tuple(AGGREGATIONS),
    "kl_estimator": tuple(KLS),
    "kl_in": ("loss", "reward"),
    "critic": ("shared", "separate"),
    "rollout_backend": ("local", "vllm", "sglang"),
}


def problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Everything wrong, as messages that start with the key.

    Args:
        values: of all keys that are known.
        given: as written.
    """
    values = {**DEFAULTS, **values}
    wrong = _wrong_values(values)
    sound = {key: DEFAULTS.get(key) if key in wrong else value for key, value in values.items()}
    unknown = _unknown_names(sound)
    found = [*wrong.values(), *unknown]
    if not unknown:
        preset = make_preset(sound, given)
        found += _parameter_problems(sound, preset)
        found += _group_problems(sound, preset) + _combination_problems(sound, preset, given)
    found += [f"{key}: has no meaning in stage: ppo; {cure}" for key, cure in NOT_READ.items() if given.get(key)]
    found += [
        f"{key}: {values[key]!r} is not allowed in stage: ppo: rollouts are samples of the policy that is trained"
        for key, only in ONLY.items()
        if values.get(key, only) != only
    ]
    found += [
        f"{key}: has a meaning in stage: dpo only"
        for key in preference.idle_keys({**preference.DEFAULTS, **values})
        if key not in SHARED
    ]
    return found + server_checks.problems(sound, given) + _reward_problems(values)


def notices(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Warnings about what a recipe without problems may not mean.

    Args:
        values: of all keys.
        given: as written.
    """
    preset, found = make_preset(values, given), []
    if cut := [f"{key}: {given[key]}" for key in ("top_p", "top_k") if _cuts(key, given.get(key))]:
        found.append(
            f"{', '.join(cut)}: rollouts are sampled from another distribution than the one whose log-probabilities "
            "are trained; without these keys both are the same."
        )
    if given.get("reward_model_type"):
        found.append("reward_model_type: no effect: stage: ppo is rewarded by `rewards`.")
    if not preset.kl_coef:
        idle = [key for key in ("kl_in", "kl_estimator", "kl_horizon", "ref_model") if given.get(key) is not None]
        found += [f"{', '.join(idle)}: no effect: kl_coef is 0, so there is no reference model."] if idle else []
    elif given.get("adapter_name_or_path") and not values.get("create_new_adapter") and not values.get("ref_model"):
        found.append(
            f"The reference is the base model without {given['adapter_name_or_path']}, because training continues "
            "that adapter. To keep the adapter in the reference, set `create_new_adapter: true`, or give it as "
            "`ref_model_adapters`."
        )
    return found


def _cuts(key: str, value: Any) -> bool:
    return value is not None and float(value) != SAMPLING[key]


def _wrong_values(values: Mapping[str, Any]) -> dict[str, str]:
    """A message for each key whose value can be judged alone, and is not allowed."""
    found: dict[str, str] = {}
    for key, least in WHOLE.items():
        value = values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            found[key] = f"it must be a whole number of at least {least}"
    for key, low in NUMBERS.items():
        value = values.get(key)
        if value is not None and not (is_number(value) and (low is None or value >= low)):
            found[key] = "it must be a finite number" + ("" if low is None else f" >= {low:g}")
    temperature, top_p = values.get("temperature", 1.0), values.get("top_p", 1.0)
    if not (is_number(temperature) and temperature > 0):
        found["temperature"] = "it must be a finite number > 0"
    if not (is_number(top_p) and 0 < top_p <= 1):
        found["top_p"] = "it must be a number > 0 and at most 1"
    found = {key: f"{key}: {values[key]!r} is not allowed, {rule}" for key, rule in found.items()}
    for key, names in NAMES.items():
        if values[key] is not None and values[key] not in names:
            found[key] = f"{key}: {values[key]!r} is unknown ({nearest_first(str(values[key]), names)})"
    correction = values["rollout_correction"] or "off"  # `off` is false in YAML
    if correction not in CORRECTIONS:
        found["rollout_correction"] = (
            f"rollout_correction: {correction!r} is unknown ({nearest_first(str(correction), CORRECTIONS)})"
        )
    try:
        as_mapping(values["policy_params"])
    except ValueError as error:
        found["policy_params"] = str(error)
    return found


def _unknown_names(values: Mapping[str, Any]) -> list[str]:
    """Of the variant, the advantage and the loss, without which nothing else can be judged."""
    variant, found = values["ppo_variant"], []
    if variant not in PRESETS:
        return [f"ppo_variant: {variant!r} is unknown ({nearest_first(str(variant), PRESETS)})"]
    for key, find in (("advantage", get_advantage), ("policy_loss", get_policy_loss)):
        try:
            find(values[key] or getattr(PRESETS[variant], FIELDS[key]))
        except ValueError as error:
            found.append(f"{key}: {error}")
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parameter_problems(values: Mapping[str, Any], preset: Preset) -> list[str]:
    advantage, loss = get_advantage(preset.advantage), get_policy_loss(preset.loss)
    found = []
    keys = {key: name for key, name in PARAMETERS.items() if values[key] is not None}
    if values["cliprange"] is not None:
        keys["cliprange"] = "clip_low"
    for key, name in keys.items():
        if name not in advantage.params and name not in loss.params:
            found.append(
                f"{key}: neither advantage: {advantage.name} nor policy_loss: {loss.name} has it; remove the key"
            )
    for name in as_mapping(values["policy_params"]) or {}:
        if name not in advantage.params and name not in loss.params:
            allowed = nearest_first(name, {**advantage.params, **loss.params})
            found.append(f"policy_params.{name}: {advantage.name} and {loss.name} have no such parameter ({allowed})")
    found += [f"policy_params: {line}" for line in param_problems(advantage, preset.advantage_params)]
    found += [f"policy_params: {line}" for line in param_problems(loss, preset.loss_params)]
    return found


def _group_problems(values: Mapping[str, Any], preset: Preset) -> list[str]:
    found, group = [], preset.num_generations
    compared = preset.advantage not in ("gae", "reinforce_plus_plus") and ":" not in preset.advantage
    if compared and group < 2:
        found.append(
            f"num_generations: {group}: advantage: {preset.advantage} compares completions of one prompt; give 2 or "
            "more, or `advantage: reinforce_plus_plus`, or `ppo_variant: ppo`"
        )
    micro = values.get("per_device_train_batch_size", 8)
    if isinstance(micro, int) and micro % group:
        found.append(
            f"per_device_train_batch_size: {micro} completions are no whole groups of num_generations: {group}; give "
            f"a multiple of {group}"
        )
    if preset.dynamic_sampling and group < 2:
        found.append("dynamic_sampling: needs groups, num_generations of 2 or more")
    return found


def _combination_problems(values: Mapping[str, Any], preset: Preset, given: Mapping[str, Any]) -> list[str]:
    found = []
    if preset.advantage == "gae" and not preset.critic.get("vf_coef"):
        found.append("vf_coef: advantage: gae needs a critic, which learns nothing without a positive vf_coef")
    if preset.advantage != "gae" and (values["vf_coef"] is not None or values["cliprange_value"] is not None):
        found.append(f"vf_coef, cliprange_value: advantage: {preset.advantage} has no critic; remove the keys")
    if preset.advantage != "gae":
        found += [
            f"{key}: advantage: {preset.advantage} has no critic; remove the key, or set `advantage: gae`"
            for key in ("critic", "critic_learning_rate")
            if values[key] != DEFAULTS[key]
        ]
    elif values["critic"] == "separate":
        found += critic_copy.problems(values, given)
    if preset.advantage == "gdpo" and preset.kl_in == "reward" and preset.kl_coef > 0:
        found.append("kl_in: reward: gdpo normalises each reward on its own and has no place for it; use kl_in: loss")
    if given.get("ppo_target") is not None and not preset.kl_coef:
        found.append(
            "ppo_target: an adaptive kl_coef starts at kl_coef, which is 0 here and stays 0; give a positive kl_coef, "
            "or remove the key"
        )
    length = values.get("max_new_tokens") or 1024
    if values["overlong_buffer"] > length:
        found.append(f"overlong_buffer: {values['overlong_buffer']} is more than max_new_tokens: {length}")
    return found


def _reward_problems(values: Mapping[str, Any]) -> list[str]:
    if values["rewards"] is None:
        return ["rewards: stage: ppo needs at least one, e.g. `rewards: [{name: exact, answer: answer}]`"]
    return [f"rewards: {line}" for line in reward_problems(reward_entries(values["rewards"]))]
