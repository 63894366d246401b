# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From the keys of a `stage: ppo` recipe to what its run does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..policy import Preset, get_advantage, get_policy_loss, get_preset
from ..spec import Spec
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
        sampling: `max_new_tokens`, `temperature`, `top_p` and `top_k` of rollouts.
        values: the other keys of `PolicyKeys`, as given.
    """

    preset: Preset
    rewards: list[Mapping[str, Any]]
    minibatches: int
    kl_target: float | None
    score_norm: bool
    whiten_rewards: bool
    seed: int
    sampling: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def correction(self) -> str:
        """How log-probabilities of another engine are corrected for, LEVEL-MODE; empty if they are not."""
        asked = self.values["rollout_correction"]
        return "" if asked in ("off", False) else asked

    @property
    def urls(self) -> list[str]:
        """Of the servers that generate; none where the policy itself does."""
        return [] if self.values["rollout_backend"] == "local" else as_urls(self.values["rollout_url"])

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
        preset=make_preset(values, given),
        rewards=reward_entries(values["rewards"]),
        minibatches=values.get("ppo_buffer_size", 1),
        kl_target=values["ppo_target"] if "ppo_target" in given else None,
        score_norm=bool(values.get("ppo_score_norm", False)),
        whiten_rewards=bool(values.get("ppo_whiten_rewards", False)),
        seed=values["seed"] if values.get("data_seed") is None else values["data_seed"],
        sampling={"max_new_tokens": values.get("max_new_tokens", 1024), **sampling(values, given)},
        values={key: values[key] for key in DEFAULTS},
    )


def sampling(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`temperature`, `top_p` and `top_k` of rollouts: the recipe's, or those of the distribution that is trained."""
    return {key: values.get(key, default) if key in given else default for key, default in SAMPLING.items()}


def make_preset(values: Mapping[str, Any], given: Mapping[str, Any]) -> Preset:
    preset = get_preset(values["ppo_variant"])
    chosen = {field: values[key] for key, field in FIELDS.items() if values.get(key) is not None}
    if "ppo_epochs" not in given:
        chosen.pop("ppo_epochs", None)
    preset = replace(preset, **chosen)
    params = dict(as_mapping(values["policy_params"]) or {})
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


def as_mapping(given: Any) -> Mapping[str, Any] | None:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise ValueError(f"policy_params: {given!r} is not JSON ({error})") from None
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"policy_params: {given!r} is a {type(given).__name__}; give a mapping of name to value")
    return given


def as_urls(given: Any) -> list[str]:
    """A URL, several of them, or several in JSON as the command line has them."""
    if isinstance(given, str) and given.lstrip().startswith("["):
        given = json.loads(given)
    return [url.rstrip("/") for url in ([given] if isinstance(given, str) else given)]


def reward_entries(given: Any) -> list[Mapping[str, Any]]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError:
            return [{"name": given}]
    return [given] if isinstance(given, Mapping) else given
