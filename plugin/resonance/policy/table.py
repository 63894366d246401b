# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The tables of advantages and policy losses, and the doors to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..spec import Spec, find, make_table, param_problems
from .aggregate import Aggregation, aggregation_of
from .cispo import cispo
from .gae import gae
from .grouped import dr_grpo, gdpo, grpo, rloo
from .gspo import gspo, gspo_token
from .ppo import ppo_clip
from .reinforce import reinforce_plus_plus, reinforce_plus_plus_baseline
from .rollout import Rollout
from .sapo import sapo
from .spec import AdvantageSpec, PolicyLossOutput, PolicyLossSpec, TokenLosses, Tokens
from .tensors import masked, shape_problems

ADVANTAGES = make_table(
    AdvantageSpec, gae, grpo, dr_grpo, rloo, reinforce_plus_plus, reinforce_plus_plus_baseline, gdpo
)
POLICY_LOSSES = make_table(PolicyLossSpec, ppo_clip, gspo, gspo_token, cispo, sapo)


def get_advantage(name: str | AdvantageSpec) -> AdvantageSpec:
    """One of ADVANTAGES, or a user's own as "package.module:function". Raises as `spec.find`."""
    return find(name, ADVANTAGES, AdvantageSpec)


def get_policy_loss(name: str | PolicyLossSpec) -> PolicyLossSpec:
    """One of POLICY_LOSSES, or a user's own as "package.module:function". Raises as `spec.find`."""
    return find(name, POLICY_LOSSES, PolicyLossSpec)


def advantages(
    name: str | AdvantageSpec,
    token_rewards: torch.Tensor,
    mask: torch.Tensor,
    *,
    group: torch.Tensor | None = None,
    values: torch.Tensor | None = None,
    **params: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """How much better each token was than expected, by name, on checked input.

    Groups are compared as a whole, so all completions of a prompt must be in one call; whitening takes the tokens of
    the call, or `whiten=False` and `masked_whiten` with the moments of all ranks.

    Args:
        name: one of ADVANTAGES, or "package.module:function", a function of a Rollout.
        token_rewards: (B, T), a reward after each token, as `at_last_token` puts it; (B, T, n) for `gdpo`.
        mask: (B, T), 1 on the tokens that the policy sampled. Holes are allowed, nothing outside is read, and a row
            without a token takes no part.
        group: (B,), equal whole numbers for completions of one prompt; for those that compare completions.
        values: (B, T), the critic's, for `gae`.
        params: the function's own parameters by name; defaults are in `get_advantage(name).params`.

    Returns:
        Advantages (B, T), detached, at least float32, 0 outside the mask; and returns (B, T) to train a critic on, or
        None.

    Raises:
        ValueError: unknown name or parameter, values out of range, shapes that differ, rewards or values that are not
            finite (with their rows), no groups or a group of one where completions are compared.
    """
    spec = get_advantage(name)
    _check_params(spec, params)
    try:
        rollout = Rollout.checked(token_rewards, mask, group, values, parts=spec.parts)
        found = spec.fn(rollout, **params) if len(mask) else (rollout.token_rewards.new_zeros(mask.shape), None)
    except ValueError as error:
        raise ValueError(f"{spec.title}: {error}".replace(": \n", ":\n")) from error
    return _checked_advantages(spec, found, rollout.mask)


def policy_loss(
    name: str | PolicyLossSpec,
    logps: torch.Tensor,
    old_logps: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    *,
    aggregation: str | Aggregation,
    weights: torch.Tensor | None = None,
    **params: Any,
) -> PolicyLossOutput:
    """The loss whose gradient improves the policy, by name, on checked input.

    Args:
        name: one of POLICY_LOSSES, or "package.module:function", a function of Tokens.
        logps: (B, T), log-probs of the sampled tokens by the policy that is trained, in nats, with gradient.
        old_logps: (B, T), by the policy that sampled them.
        advantages: (B, T).
        mask: (B, T), 1 on the tokens that the policy sampled. Nothing outside is read or gets a gradient.
        aggregation: one of AGGREGATIONS for a mean over this batch, or an Aggregation with the counts of the global
            batch, with which the losses of its micro-batches add up to its loss.
        weights: (B, T), of `rollout_correction`, or None.
        params: the loss's own parameters by name; defaults are in `get_policy_loss(name).params`.

    Returns:
        The loss, a scalar, and statistics, means over tokens: ratio, approx_kl (the mean of old_logps - logps) and
        what the loss adds. Nothing waits for an accelerator.

    Raises:
        ValueError: unknown name, parameter or aggregation, values out of range, or shapes that differ.
    """
    spec, how = get_policy_loss(name), aggregation_of(aggregation)
    _check_params(spec, params)
    batch = Tokens.checked(logps, old_logps, advantages, mask)
    output = _checked_losses(spec, spec.fn(batch, **params), batch)
    losses = output.losses
    if weights is not None:
        losses = losses * masked(mask, weights=weights.detach())[1].to(losses.dtype)
    stats = {"ratio": batch.ratio, "approx_kl": -batch.log_ratio} | output.stats
    return PolicyLossOutput(
        how(losses, batch.mask), {name: how.token_mean(value, batch.mask) for name, value in stats.items()}
    )


def _check_params(spec: Spec, params: Mapping[str, object]) -> None:
    if problems := param_problems(spec, params):
        raise ValueError(f"{spec.title} cannot be computed:\n" + "\n".join(f"  - {line}" for line in problems))


def _checked_advantages(
    spec: AdvantageSpec, found: object, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if not (isinstance(found, tuple) and len(found) == 2):
        raise ValueError(f"{spec.title} returned {type(found).__name__}; it must be (advantages, returns or None).")
    named = {"advantages": found[0]} | ({} if found[1] is None else {"returns": found[1]})
    if problems := shape_problems(mask, named):
        raise ValueError(f"{spec.title} returned wrong shapes: {'; '.join(problems)}.")
    kept = [torch.where(mask, tensor.detach(), 0.0) for tensor in named.values()]
    return kept[0], kept[1] if len(kept) == 2 else None


def _checked_losses(spec: PolicyLossSpec, found: object, batch: Tokens) -> TokenLosses:
    output = TokenLosses(found) if isinstance(found, torch.Tensor) else found
    if not isinstance(output, TokenLosses):
        raise ValueError(f"{spec.title} returned {type(found).__name__}; it must return TokenLosses or (B, T) losses.")
    if problems := shape_problems(batch.mask, {"losses": output.losses, **output.stats}):
        raise ValueError(f"{spec.title} returned wrong shapes: {'; '.join(problems)}.")
    return output
