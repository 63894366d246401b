# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DAPO's penalty for responses that come near the limit."""

from __future__ import annotations

import torch


def overlong_penalty(lengths: torch.Tensor, *, max_length: int, cache: int, penalty: float = 1.0) -> torch.Tensor:
    """Soft overlong punishment, to be added to the reward of each response.

    Paper: arXiv:2503.14476, equation 13. Formula, with L the length of a response in tokens:

        0                                            L <= max_length - cache
        -penalty * (L - max_length + cache) / cache  between
        -penalty                                     L >= max_length

    Compared with: trl 1.16.0, rewards.get_soft_overlong_punishment.

    Args:
        lengths: (B,), tokens of each response.
        max_length: the limit on new tokens, > 0.
        cache: how many tokens before the limit the penalty grows over, at most max_length; DAPO has a fifth of it.
        penalty: >= 0, in units of reward.

    Returns:
        (B,), between -penalty and 0.

    Raises:
        ValueError: a value out of range.
    """
    if not (0 < cache <= max_length and penalty >= 0):
        raise ValueError(
            f"max_length={max_length!r}, cache={cache!r}, penalty={penalty!r} are not allowed: they must be "
            f"0 < cache <= max_length and penalty >= 0."
        )
    over = (lengths.to(torch.float32) - (max_length - cache)) / cache
    return -penalty * over.clamp(0.0, 1.0)
