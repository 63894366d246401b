# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the log lines of a policy's training are a sign of, as warnings with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]
FEW = 3  # lines that are averaged: at the start, and now
TRUNCATED = 0.2  # share of completions that are cut off
COLLAPSED = 0.1  # of the entropy at the start
SHRUNK = 1 / 3  # of the length at the start
# Of nats a token, and of the mean of the first half: a divergence that grows steadily stays below the second.
DIVERGED, EXPLODED = 0.5, 5.0
LINES = 2 * FEW  # that a divergence is judged by
REPEAT = 10  # lines without a symptom after which it is warned of again


def symptoms(history: Sequence[Line]) -> dict[str, str]:
    """What is wrong at the end of a sequence of log lines: name -> message. Decides by them alone.

    Args:
        history: log lines in their order, such as `state.log_history`; lines without a metric are passed over.
    """
    found = {
        "flat groups": _flat(_series(history, "frac_zero_std")),
        "entropy collapse": _entropy(_series(history, "entropy")),
        "length collapse": _length(_series(history, "completions/mean_length")),
        "truncation": _truncation(_series(history, "completions/clipped_ratio")),
        "divergence": _divergence(_series(history, "kl"), _series(history, "reward")),
    }
    return {name: message for name, message in found.items() if message}


def new_symptoms(history: Sequence[Line]) -> list[str]:
    """Messages about those that the last line shows and none of the lines before it did."""
    now = symptoms(history)
    for end in range(len(history) - 1, max(len(history) - 1 - REPEAT, 0), -1):
        now = {name: message for name, message in now.items() if name not in symptoms(history[:end])} if now else now
    return list(now.values())


def _series(history: Sequence[Line], name: str) -> list[float]:
    return [line[name] for line in history if name in line]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _fell(values: Sequence[float], share: float) -> tuple[float, float] | None:
    """The values at the start and now, if the latter is below a share of the former."""
    if len(values) <= FEW:
        return None
    start, now = _mean(values[:FEW]), _mean(values[-FEW:])
    return (start, now) if now < share * start else None


def _flat(shares: Sequence[float]) -> str:
    if not shares or shares[-1] < 1:
        return ""
    return (
        "frac_zero_std: 1: in no group do the rewards of the completions differ, so that none is learned from. Take "
        "prompts of another difficulty, more num_generations, a higher temperature, or `dynamic_sampling: true`."
    )


def _entropy(values: Sequence[float]) -> str:
    if (fell := _fell(values, COLLAPSED)) is None:
        return ""
    return (
        f"entropy: {fell[1]:.3g}, at the start {fell[0]:.3g}: the policy hardly varies its completions any more, and "
        "finds nothing new. Try a lower learning_rate, a higher kl_coef or clip_high, or a small entropy_coef."
    )


def _length(values: Sequence[float]) -> str:
    if (fell := _fell(values, SHRUNK)) is None:
        return ""
    return (
        f"completions/mean_length: {fell[1]:.3g}, at the start {fell[0]:.3g}: completions shrink. If completions.html "
        "shows that they lose what they should say, try a higher kl_coef, `loss_aggregation: token-mean`, or a reward "
        "for length or format."
    )


def _truncation(shares: Sequence[float]) -> str:
    if not shares or _mean(shares[-FEW:]) <= TRUNCATED:
        return ""
    return (
        f"completions/clipped_ratio: {_mean(shares[-FEW:]):.0%} of the completions are cut off at max_new_tokens, and "
        "rewarded for half an answer or left out. Raise max_new_tokens, or use an overlong_buffer."
    )


def _divergence(divergences: Sequence[float], rewards: Sequence[float]) -> str:
    if len(divergences) < LINES or len(rewards) < 2:
        return ""
    before, now = _mean(divergences[: len(divergences) // 2]), _mean(divergences[-FEW:])
    gained = _mean(rewards[-FEW:]) - _mean(rewards[: max(len(rewards) // 2, 1)])
    if now < DIVERGED or now < EXPLODED * before or gained <= 0:
        return ""
    return (
        f"kl: {now:.3g} nats a token, in the first half of the run {before:.3g}, while the reward rises: the policy "
        "may have found what the rewards do not see. Read completions.html; try a higher kl_coef, or a lower "
        "learning_rate."
    )
