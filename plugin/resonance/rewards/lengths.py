# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rewards for how long a completion is and how much it repeats itself, in tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..spec import Range
from .spec import Completions, declare_reward

Rewards = list[float | None]
TOKENS = Range(low=1.0, note="tokens")


def whole_number_problems(params: Mapping[str, Any]) -> list[str]:
    """Numbers of tokens that are no whole numbers."""
    return [
        f"{name}={value!r} must be a whole number of tokens"
        for name, value in params.items()
        if isinstance(value, float) and not value.is_integer()
    ]


def _length_problems(params: Mapping[str, Any]) -> list[str]:
    low, high = params.get("min_length", 0), params.get("max_length", math.inf)
    if "min_length" not in params and "max_length" not in params:
        return ["give min_length, max_length or both"]
    above = [f"min_length={low!r} is above max_length={high!r}"] if _numbers(low, high) and low > high else []
    return whole_number_problems(params) + above


@declare_reward(check=_length_problems, ranges={"min_length": TOKENS, "max_length": TOKENS})
def length(batch: Completions, *, min_length: int = 0, max_length: int | None = None) -> Rewards:
    """1 where a completion has between min_length and max_length tokens, its end included, else 0.

    Args:
        batch: completions, with their tokens.
        min_length: keeps answers from shrinking to nothing.
        max_length: keeps them from growing; without it there is no limit.
    """
    limit = math.inf if max_length is None else max_length
    return [float(min_length <= tokens <= limit) for tokens in batch.lengths]


@declare_reward(paper="arXiv:2502.03373", check=whole_number_problems, ranges={"ngram": TOKENS})
def repetition(batch: Completions, *, ngram: int = 3) -> Rewards:
    """Minus the share of n-grams of tokens that were there before: 0 where none repeats, near -1 where all do.

    Paper's appendix C.2. Formula: unique n-grams / n-grams - 1; 0 for a completion of fewer than `ngram` tokens.

    Compared with: trl 1.16.0, rewards.get_repetition_penalty_reward.

    Args:
        batch: completions, with their tokens.
        ngram: how many tokens in a row count as one piece.
    """
    return [_unique_share(tokens, int(ngram)) - 1 for tokens in batch.tokens]


def _unique_share(tokens: Sequence[int], ngram: int) -> float:
    pieces = [tuple(tokens[at : at + ngram]) for at in range(len(tokens) - ngram + 1)]
    return len(set(pieces)) / len(pieces) if pieces else 1.0


def _overlong_problems(params: Mapping[str, Any]) -> list[str]:
    limit, cache = params.get("max_length"), params.get("cache")
    if limit is None:
        return ["max_length is missing: the recipe's limit on new tokens"]
    fits = cache is None or not _numbers(limit, cache) or 0 < cache <= limit
    wrong = [] if fits else [f"cache={cache!r} is not allowed, it must be 0 < cache <= max_length={limit!r}"]
    return whole_number_problems(params) + wrong


@declare_reward(paper="arXiv:2503.14476", check=_overlong_problems, ranges={"max_length": TOKENS, "cache": TOKENS})
def overlong(batch: Completions, *, max_length: int = 0, cache: int | None = None) -> Rewards:
    """DAPO's soft overlong punishment: 0 up to max_length - cache tokens, then down to -1 at max_length.

    Paper's equation 13; the same as `resonance.policy.overlong_penalty`.

    Args:
        batch: completions, with their tokens.
        max_length: the recipe's limit on new tokens; must be given.
        cache: how many tokens before the limit it grows over; a fifth of max_length if not given, as in the paper.
    """
    span = max_length / 5 if cache is None else cache
    return [-min(max((tokens - max_length + span) / span, 0.0), 1.0) for tokens in batch.lengths]


def _numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) for value in values)
