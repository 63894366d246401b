# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of reinforcement learning, `stage: ppo`. Unset ones take the value of the preset of `ppo_variant`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

STAGE = "ppo"
STAND_IN = "kto"  # the stage that LlamaFactory parses such a recipe as


def _key(help: str, default: Any = None) -> Any:
    """A key of that default, or one that is unset."""
    return field(default=default, metadata={"help": help})


@dataclass
class ObjectiveKeys:
    r"""What is optimised."""

    ppo_variant: str = _key(
        "Preset of stage: ppo: ppo, grpo, dr_grpo, rloo, reinforce_plus_plus, reinforce_plus_plus_baseline, dapo, "
        "gspo, cispo or sapo. Each of the keys below overrides a piece of it.",
        "ppo",
    )
    num_generations: int | None = _key("Completions of each prompt.")
    advantage: str | None = _key("Advantages: a name of resonance.policy.ADVANTAGES, or package.module:function.")
    policy_loss: str | None = _key(
        "Policy loss: a name of resonance.policy.POLICY_LOSSES, or package.module:function."
    )
    policy_params: dict | str | None = _key(  # noqa: RUF009 (it makes a field)
        "Further parameters of advantage and policy loss as a dict (JSON on the command line), e.g. {dual_clip: 3.0}."
    )
    loss_aggregation: str | None = _key(
        "How tokens become a loss: token-mean, seq-mean-token-mean, seq-mean-token-sum, seq-mean-token-sum-norm."
    )
    cliprange: float | None = _key("Ratio clip range on both sides: clip_low and clip_high.")
    clip_low: float | None = _key("The ratio is clipped at 1 - clip_low.")
    clip_high: float | None = _key("The ratio is clipped at 1 + clip_high.")
    gamma: float | None = _key("Discount of rewards.")
    lam: float | None = _key("Lambda of generalised advantage estimation.")
    advantage_scale: bool | None = _key("Divide advantages of a group by the standard deviation of its rewards.")
    entropy_coef: float = _key("Weight of the entropy bonus.", 0.0)
    mask_truncated: bool | None = _key("Leave completions that hit max_new_tokens out of the loss.")


@dataclass
class DivergenceKeys:
    r"""What holds the policy back, and the critic."""

    kl_coef: float | None = _key("Weight of the KL divergence from the reference; 0 needs no reference model.")
    kl_in: Literal["loss", "reward"] | None = _key("Where the KL divergence counts: loss or reward.")
    kl_estimator: Literal["k1", "k2", "k3", "abs"] | None = _key("Estimator of the KL divergence: k1, k2, k3 or abs.")
    kl_horizon: int = _key("Sequences in which an adaptive kl_coef (ppo_target) changes by about a fifth.", 10000)
    vf_coef: float | None = _key("Weight of the critic's loss, where advantages need a critic.")
    cliprange_value: float | None = _key("Clip range of the critic's values, in units of reward.")
    critic: Literal["shared", "separate"] = _key(
        "shared: a value head on the policy's hidden states. separate: a copy of the policy with a value head of its "
        "own, which learns from the value loss alone; it shares the weights that do not train.",
        "shared",
    )
    critic_learning_rate: float | None = _key(
        "Learning rate of all the critic's own weights. Unset: ten times learning_rate."
    )


@dataclass
class RolloutKeys:
    r"""Who generates, and who judges."""

    rewards: list | str | None = _key(  # noqa: RUF009 (it makes a field)
        "Rewards of stage: ppo: a list of {name: ...} for built-in ones, {function: package.module:function} for your "
        "own, {model: FOLDER} for reward models and {url: ...} for judges, each with an optional weight (JSON on the "
        "command line)."
    )
    rollout_batch_size: int | None = _key(
        "Prompts that a process generates for at a time, with the random numbers of one seed. Unset: those of one "
        "optimizer step. 1, or another divisor of the prompts of a micro-batch, makes completions independent of the "
        "number of processes."
    )
    rollout_correction: str = _key(
        "Importance weights for tokens whose log-probabilities differ from the trainer's: off, or LEVEL-MODE of "
        "token, sequence and truncate, mask, e.g. token-truncate.",
        "off",
    )
    rollout_correction_threshold: float = _key("The largest importance weight.", 2.0)
    dynamic_sampling: bool | None = _key("Sample on until enough groups have rewards that differ.")
    dynamic_sampling_tries: int = _key("Rollouts to draw for one before the run stops.", 10)
    overlong_buffer: int = _key("Tokens before max_new_tokens over which DAPO's length penalty grows; 0 for none.", 0)
    overlong_penalty: float = _key("DAPO's length penalty at max_new_tokens, in units of reward.", 1.0)
    eval_num_generations: int = _key("Sampled completions a prompt in an evaluation, beside the greedy one.", 0)


@dataclass
class ServerKeys:
    r"""Rollouts by a server that the user starts."""

    rollout_backend: Literal["local", "vllm", "sglang"] = _key(
        "Who generates completions: local (the policy itself), or a vllm or sglang server at rollout_url.", "local"
    )
    rollout_url: list | str | None = _key(  # noqa: RUF009 (it makes a field)
        "URL of the server that generates, or a list of them; they are given the policy's new weights."
    )
    rollout_timeout: float = _key("Seconds that one answer of a server may take.", 600.0)
    rollout_wait: float = _key("Seconds without any completion, after which the run stops.", 600.0)
    rollout_concurrency: int = _key("Prompts that a process asks a server for at a time.", 64)
    rollout_key_env: str | None = _key("The environment variable that holds the API key of the servers.")
    rollout_logp_limit: float = _key(
        "The run stops where a server's log-probabilities differ by more than this from the trainer's, in the mean of "
        "a rollout's tokens.",
        0.1,
    )
    rollout_ahead: int = _key(
        "1: the next rollout is generated during the update, by weights that are one rollout old.", 0
    )
    rollout_check_only: bool = _key(
        "Compare the servers with the recipe and stop, as `resonance rollout-check` does.", False
    )


@dataclass
class PolicyKeys(ObjectiveKeys, DivergenceKeys, RolloutKeys, ServerKeys):
    r"""All keys of `stage: ppo` that LlamaFactory does not have."""


KEYS = tuple(f.name for f in fields(PolicyKeys))
DEFAULTS = {f.name: f.default for f in fields(PolicyKeys)}


def is_policy_stage(values: Mapping[str, Any]) -> bool:
    """Whether a recipe is trained by us on completions of its own; LlamaFactory's PPO runs in no installation."""
    return values.get("stage") == STAGE


def idle_keys(values: Mapping[str, Any]) -> list[str]:
    """Keys that a recipe of another stage sets."""
    return [] if is_policy_stage(values) else [key for key in KEYS if values.get(key, DEFAULTS[key]) != DEFAULTS[key]]
