# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which recipe keys the page offers for a stage, a loss and a variant of PPO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..arguments import feedback, preference, reward_model
from ..arguments.parameters import LOSS_PARAMETERS

_LENGTHS = ("overlong", "max_prompt_length", "max_target_length")
_RATES = ("vision_lr", "projector_lr")
_ENGINE = ("pref_speedups", "image_feature_cache", "group_prompts")
_CRITIC = ("critic", "critic_learning_rate", "vf_coef", "cliprange_value", "gamma", "lam")
_SERVER = ("rollout_url", "rollout_ahead", "rollout_correction")
STAGES: dict[str, tuple[str, ...]] = {
    "dpo": (
        *(key for key in LOSS_PARAMETERS if key != "pref_beta"),  # which has a slider of LlamaFactory
        "pref_loss_params", "pref_loss_weights", "pref_engine", "dpo_average_log_prob", "sample_weights",
        "precompute_ref_log_probs", "score_order", "uni_dpo_eta_warmup", "mdpo_image", *_LENGTHS, "score_margin",
        "data_ratio", *_ENGINE, *_RATES,
    ),
    "kto": (
        "kto_engine", "kto_chosen_weight", "kto_rejected_weight", "sample_weights", "precompute_ref_log_probs",
        *_LENGTHS, "data_ratio", *_ENGINE, *_RATES,
    ),
    "rm": (
        "rm_engine", "rm_margin", "rm_margin_scale", "rm_weight", "rm_weight_eta", *_LENGTHS, "score_margin",
        "data_ratio", "pref_speedups", "group_prompts", *_RATES,
    ),
    "ppo": (
        "ppo_variant", "rewards", "num_generations", "max_new_tokens", "temperature", "ppo_buffer_size", "ppo_epochs",
        "rollout_batch_size", "advantage", "policy_loss", "policy_params", "loss_aggregation", "clip_low", "clip_high",
        "advantage_scale", "kl_coef", "kl_in", "kl_estimator", *_CRITIC, "entropy_coef", "mask_truncated",
        "dynamic_sampling", "overlong_buffer", "overlong_penalty", "rollout_backend", *_SERVER, "eval_num_generations",
        "overlong", "max_prompt_length", "data_ratio", *_RATES,
    ),
    "sft": ("overlong", "data_ratio", *_RATES),
    "pt": ("data_ratio", *_RATES),
}  # fmt: skip
_SHARED = (*_LENGTHS, "score_margin", "data_ratio", *_ENGINE, *_RATES)
# In the order of the page: what belongs to one stage alone comes first.
KEYS = tuple(dict.fromkeys([*(key for keys in STAGES.values() for key in keys if key not in _SHARED), *_SHARED]))
# What `shown` reads beside the stage and `pref_loss`.
WATCHED = ("pref_engine", "kto_engine", "rm_engine", "rm_margin", "rm_weight", "ppo_variant", "advantage",
           "rollout_backend")  # fmt: skip


def shown(values: Mapping[str, Any]) -> list[str]:
    """Keys that have a meaning beside these values, in the order of the page.

    Args:
        values: `stage`, `pref_loss` and what else of a recipe is known.
    """
    return [key for key in STAGES.get(values["stage"], ()) if key not in _NEEDS or _NEEDS[key](values)]


def _parameters(values: Mapping[str, Any]) -> frozenset[str]:
    """Names of the parameters of the loss; none of one that the check of the recipe will refuse."""
    from ..losses import get_loss

    try:
        return frozenset(get_loss(values["pref_loss"]).params)
    except (ValueError, ImportError):
        return frozenset()


def _has_parameter(name: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda values: name in _parameters(values)


def _has_others(values: Mapping[str, Any]) -> bool:
    return not _is_mix(values) and bool(_parameters(values) - set(LOSS_PARAMETERS.values()))


def _is_mix(values: Mapping[str, Any]) -> bool:
    return "," in values["pref_loss"]


def _reads_corrupted(values: Mapping[str, Any]) -> bool:
    from ..losses import get_loss

    try:
        return get_loss(values["pref_loss"]).needs_corrupted
    except (ValueError, ImportError):
        return False


def _runs_on_engine(values: Mapping[str, Any]) -> bool:
    kinds = (preference, feedback, reward_model)
    return any(kind.runs_on_resonance(values) for kind in kinds)


def _has_critic(values: Mapping[str, Any]) -> bool:
    from ..policy import PRESETS

    preset = PRESETS.get(values.get("ppo_variant") or "ppo")
    return (values.get("advantage") or (preset and preset.advantage)) == "gae"


def _asks(key: str, value: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda values: values.get(key) == value


def _has_server(values: Mapping[str, Any]) -> bool:
    return values.get("rollout_backend") not in (None, "local")


_NEEDS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    **{key: _has_parameter(name) for key, name in LOSS_PARAMETERS.items()},
    **dict.fromkeys(_ENGINE, _runs_on_engine),
    **dict.fromkeys(_CRITIC, _has_critic),
    **dict.fromkeys(_SERVER, _has_server),
    "uni_dpo_eta_warmup": _has_parameter("qual_eta"),
    "pref_loss_params": _has_others,
    "pref_loss_weights": _is_mix,
    "pref_engine": lambda values: values["pref_loss"] in preference.STOCK_LOSSES,
    "mdpo_image": _reads_corrupted,
    "rm_margin_scale": _asks("rm_margin", "score"),
    "rm_weight_eta": _asks("rm_weight", "score"),
}
