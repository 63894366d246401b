# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From the keys of a `stage: ppo` recipe to what its run does, and everything that is wrong with them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..policy import (
    AGGREGATIONS,
    KLS,
    PRESETS,
    Preset,
    get_advantage,
    get_policy_loss,
    get_preset,
)
from ..rewards import reward_problems
from ..spec import Spec, nearest_first, param_problems
from .policy import DEFAULTS

# recipe key -> parameter of the advantage or the policy loss
PARAMETERS = {
    "clip_low": "clip_low",
    "clip_high": "clip_high",
    "gamma": "gamma",
    "lam": "lam",
    "advantage_scale": "scale_by_std",
}
FIELDS = {  # recipe key -> field of the preset
    "num_generations": "num_generations",
    "advantage": "advantage",
    "policy_loss": "loss",
    "loss_aggregation": "aggregation",
    "kl_coef": "kl_coef",
    "kl_in": "kl_in",
    "kl_estimator": "kl",
    "ppo_epochs": "ppo_epochs",
    "dynamic_sampling": "dynamic_sampling",
    "mask_truncated": "mask_truncated",
}
CORRECTIONS = ("off", "token-truncate", "token-mask", "sequence-truncate", "sequence-mask")
# LlamaFactory's defaults sample another distribution than the one that is trained.
SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}


@dataclass(frozen=True)
class PolicySettings:
    """What a recipe trains.

    Attributes:
        preset: of `ppo_variant`, with the recipe's own values in it.
        rewards: the entries of `rewards:`.
        minibatches: optimizer steps a pass over a rollout, `ppo_buffer_size`.
        kl_target: of an adaptive `kl_coef`, or None for a fixed one.
        score_norm, whiten_rewards: LlamaFactory's `ppo_score_norm` and `ppo_whiten_rewards`.
        seed: of the order of prompts and of completions.
        values: the other keys of `PolicyKeys`, as given.
    """

    preset: Preset
    rewards: list[Mapping[str, Any]]
    minibatches: int
    kl_target: float | None
    score_norm: bool
    whiten_rewards: bool
    seed: int
    values: Mapping[str, Any]

    @property
    def correction(self) -> str:
        """How log-probabilities of another engine are corrected for, LEVEL-MODE; empty if they are not."""
        asked = self.values["rollout_correction"]
        return "" if asked in ("off", False) else asked

    @property
    def weights(self) -> list[float]:
        """Of the rewards, in their order."""
        return [entry.get("weight", 1.0) for entry in self.rewards]

    @property
    def needs_critic(self) -> bool:
        """Whether values are predicted."""
        return self.preset.advantage == "gae"

    @property
    def needs_reference(self) -> bool:
        """Whether a reference is called."""
        return self.preset.kl_coef > 0

    @property
    def updates(self) -> int:
        """Optimizer steps between two rollouts."""
        return self.minibatches * self.preset.ppo_epochs


def settings(values: Mapping[str, Any], given: Mapping[str, Any]) -> PolicySettings:
    """What a recipe without problems asks for.

    Args:
        values: of all keys.
        given: the keys that the recipe has; LlamaFactory's defaults of `ppo_epochs` and `ppo_target` are not taken for
            a wish.
    """
    values = {**DEFAULTS, **values}
    return PolicySettings(
        preset=_preset(values, given),
        rewards=_entries(values["rewards"]),
        minibatches=values.get("ppo_buffer_size", 1),
        kl_target=values["ppo_target"] if "ppo_target" in given else None,
        score_norm=bool(values.get("ppo_score_norm", False)),
        whiten_rewards=bool(values.get("ppo_whiten_rewards", False)),
        seed=values["seed"] if values.get("data_seed") is None else values["data_seed"],
        values={key: values[key] for key in DEFAULTS},
    )


def sampling(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`temperature`, `top_p` and `top_k` of rollouts: the recipe's, or those of the distribution that is trained."""
    return {key: values[key] if key in given else default for key, default in SAMPLING.items()}


def _preset(values: Mapping[str, Any], given: Mapping[str, Any]) -> Preset:
    preset = get_preset(values["ppo_variant"])
    chosen = {field: values[key] for key, field in FIELDS.items() if values.get(key) is not None}
    if "ppo_epochs" not in given:
        chosen.pop("ppo_epochs", None)
    preset = replace(preset, **chosen)
    params = dict(_as_mapping(values["policy_params"]) or {})
    if values["cliprange"] is not None:
        params |= {"clip_low": values["cliprange"], "clip_high": values["cliprange"]}
    params |= {name: values[key] for key, name in PARAMETERS.items() if values[key] is not None}
    critic = {key: values[key] for key in ("vf_coef", "cliprange_value") if values[key] is not None}
    advantage, loss = get_advantage(preset.advantage), get_policy_loss(preset.loss)
    return replace(
        preset,
        advantage_params=_own(advantage, preset.advantage_params) | _own(advantage, params),
        loss_params=_own(loss, preset.loss_params) | _own(loss, params),
        critic={**preset.critic, **critic},
    )


def _own(spec: Spec, params: Mapping[str, Any]) -> dict[str, Any]:
    """Of `params` those that a function has: an override of the function itself leaves others behind."""
    return {name: value for name, value in params.items() if name in spec.params}


def _as_mapping(given: Any) -> Mapping[str, Any] | None:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise ValueError(f"policy_params: {given!r} is not JSON ({error})") from None
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"policy_params: {given!r} is a {type(given).__name__}; give a mapping of name to value")
    return given


def _entries(given: Any) -> list[Mapping[str, Any]]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError:
            return [{"name": given}]
    return [given] if isinstance(given, Mapping) else given


def problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Everything wrong with the keys of a `stage: ppo` recipe, as messages that start with the key."""
    values = {**DEFAULTS, **values}
    found = _value_problems(values)
    variant = values["ppo_variant"]
    if variant not in PRESETS:
        return [*found, f"ppo_variant: {variant!r} is unknown ({nearest_first(str(variant), PRESETS)})"]
    for key, find in (("advantage", get_advantage), ("policy_loss", get_policy_loss)):
        try:
            find(values[key] or getattr(PRESETS[variant], FIELDS[key]))
        except ValueError as error:
            found.append(f"{key}: {error}")
    try:
        _as_mapping(values["policy_params"])
    except ValueError as error:
        found.append(str(error))
    if found:
        return found
    preset = _preset(values, given)
    found += _parameter_problems(values, preset) + _combination_problems(values, preset)
    if values["rewards"] is None:
        found.append(
            "rewards: stage: ppo needs at least one, e.g. `rewards: [{name: exact, answer: answer}]`"
            + ("; `reward_model` is not read here" if values.get("reward_model") else "")
        )
    else:
        found += [f"rewards: {line}" for line in reward_problems(_entries(values["rewards"]))]
    return found


def _value_problems(values: Mapping[str, Any]) -> list[str]:
    found = []
    whole = {"num_generations": 1, "ppo_buffer_size": 1, "ppo_epochs": 1, "rollout_batch_size": 1, "kl_horizon": 1}
    whole |= {"dynamic_sampling_tries": 1, "overlong_buffer": 0, "eval_num_generations": 0}
    for key, least in whole.items():
        value = values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            found.append(f"{key}: {value!r} is not allowed, it must be a whole number of at least {least}")
    numbers = {"kl_coef": 0.0, "vf_coef": 0.0, "entropy_coef": None, "overlong_penalty": 0.0}
    numbers |= {"critic_learning_rate": 0.0, "rollout_correction_threshold": 1.0, "ppo_target": 0.0}
    for key, low in numbers.items():
        value = values.get(key)
        if value is not None and not (_is_number(value) and (low is None or value >= low)):
            limit = "a finite number" if low is None else f"a finite number >= {low:g}"
            found.append(f"{key}: {value!r} is not allowed, it must be {limit}")
    for key, names in (
        ("loss_aggregation", AGGREGATIONS),
        ("kl_estimator", KLS),
        ("kl_in", ("loss", "reward")),
        ("rollout_correction", CORRECTIONS),
    ):
        value = values[key] or ("off" if key == "rollout_correction" else None)  # `off` is false in YAML
        if value is not None and value not in names:
            found.append(f"{key}: {value!r} is unknown ({nearest_first(str(value), names)})")
    return found


def _is_number(value: Any) -> bool:
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
    for name in _as_mapping(values["policy_params"]) or {}:
        if name not in advantage.params and name not in loss.params:
            allowed = nearest_first(name, {**advantage.params, **loss.params})
            found.append(f"policy_params.{name}: {advantage.name} and {loss.name} have no such parameter ({allowed})")
    found += [f"policy_params: {line}" for line in param_problems(advantage, preset.advantage_params)]
    found += [f"policy_params: {line}" for line in param_problems(loss, preset.loss_params)]
    return found


def _combination_problems(values: Mapping[str, Any], preset: Preset) -> list[str]:
    found, group = [], preset.num_generations
    compared = preset.advantage not in ("gae", "reinforce_plus_plus") and ":" not in preset.advantage
    if compared and group < 2:
        found.append(
            f"num_generations: {group}: advantage: {preset.advantage} compares completions of one prompt; give 2 or "
            "more, or `advantage: reinforce_plus_plus`, or `ppo_variant: ppo`"
        )
    micro = values.get("per_device_train_batch_size", 8)
    if isinstance(micro, int) and micro % max(group, 1):
        found.append(
            f"per_device_train_batch_size: {micro} completions are no whole groups of num_generations: {group}; give "
            f"a multiple of {group}"
        )
    if preset.advantage == "gae" and not preset.critic.get("vf_coef"):
        found.append("vf_coef: advantage: gae needs a critic, which learns nothing without a positive vf_coef")
    if preset.advantage != "gae" and (values["vf_coef"] is not None or values["cliprange_value"] is not None):
        found.append(f"vf_coef, cliprange_value: advantage: {preset.advantage} has no critic; remove the keys")
    if preset.advantage == "gdpo" and preset.kl_in == "reward" and preset.kl_coef > 0:
        found.append("kl_in: reward: gdpo normalises each reward on its own and has no place for it; use kl_in: loss")
    if preset.dynamic_sampling and group < 2:
        found.append("dynamic_sampling: needs groups, num_generations of 2 or more")
    length = values.get("max_new_tokens", 1024)
    if isinstance(length, int) and values["overlong_buffer"] > length:
        found.append(f"overlong_buffer: {values['overlong_buffer']} is more than max_new_tokens: {length}")
    if values.get("num_beams", 1) != 1:
        found.append("num_beams: rollouts are sampled, not searched; remove the key")
    if values.get("do_sample") is False:
        found.append("do_sample: false: rollouts are sampled; evaluation is greedy anyway; remove the key")
    return found
