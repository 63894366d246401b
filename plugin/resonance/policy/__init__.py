# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The arithmetic of reinforcement learning, as pure functions of tensors (B, T) with a mask of response tokens.

| file | what |
|---|---|
| `gae.py`, `grouped.py`, `reinforce.py` | advantages, from a `Rollout` |
| `ppo.py`, `gspo.py`, `cispo.py`, `sapo.py` | policy losses, from `Tokens` |
| `table.py` | the tables of both, and `advantages` and `policy_loss`, the doors to them |
| `aggregate.py` | from a loss a token to a scalar, over the global batch |
| `moments.py`, `groups.py` | whitening over all ranks; statistics of a prompt's completions |
| `divergence.py`, `controllers.py` | KL to the reference, and its coefficient |
| `value.py` | the critic's loss, the entropy bonus |
| `rollout_correction.py`, `overlong.py` | weights for tokens of another engine; DAPO's length penalty |
| `presets.py` | GRPO, PPO and so on as choices of these pieces |

One step, for a micro-batch of a rollout; `counts` are summed over the ranks and micro-batches of the step:

    advantage, _ = advantages("grpo", at_last_token(rewards, mask), mask, group=prompt)
    how = Aggregation("token-mean", tokens=tokens, sequences=sequences)
    output = policy_loss("ppo_clip", logps, old_logps, advantage, mask, aggregation=how, clip_high=0.28)
    loss = output.loss + kl_coef * aggregate(kl("k3", logps, ref_logps), mask, how)

A policy loss of your own is a function of one batch; name it "package.module:function":

    def my_loss(batch: Tokens, *, power: float = 1.0) -> torch.Tensor:
        return -batch.advantages * batch.ratio**power
"""

from .aggregate import AGGREGATIONS, Aggregation, aggregate, counts
from .controllers import AdaptiveKL, FixedKL
from .divergence import KLS, kl
from .groups import Groups
from .moments import RunningMoments, explained_variance, masked_moments, masked_whiten, value_moments
from .overlong import overlong_penalty
from .presets import PRESETS, Preset, get_preset
from .rollout import Rollout
from .rollout_correction import RolloutCorrection, rollout_correction
from .spec import PolicyLossOutput, TokenLosses, Tokens
from .table import ADVANTAGES, POLICY_LOSSES, advantages, get_advantage, get_policy_loss, policy_loss
from .tensors import at_last_token
from .value import entropy_bonus, value_clip_ratio, value_loss

__all__ = [
    "ADVANTAGES",
    "AGGREGATIONS",
    "KLS",
    "POLICY_LOSSES",
    "PRESETS",
    "AdaptiveKL",
    "Aggregation",
    "FixedKL",
    "Groups",
    "PolicyLossOutput",
    "Preset",
    "Rollout",
    "RolloutCorrection",
    "RunningMoments",
    "TokenLosses",
    "Tokens",
    "advantages",
    "aggregate",
    "at_last_token",
    "counts",
    "entropy_bonus",
    "explained_variance",
    "get_advantage",
    "get_policy_loss",
    "get_preset",
    "kl",
    "masked_moments",
    "masked_whiten",
    "overlong_penalty",
    "policy_loss",
    "rollout_correction",
    "value_clip_ratio",
    "value_loss",
    "value_moments",
]
