# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What all functions here do with their tensors: one shape, at least float32, nothing read outside the mask."""

from __future__ import annotations

from functools import reduce

import torch


def masked(mask: torch.Tensor, **tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The mask as booleans, then each tensor in one dtype of at least float32 and 0 outside the mask.

    The zeros go in before any arithmetic, so that padding may hold anything, NaN included, and gets no gradient.

    Args:
        mask: (B, T), 1 where a token was sampled by the policy; padding, tool and environment tokens are 0.
        tensors: (B, T) each, by the names that messages use.

    Raises:
        ValueError: something is no tensor of the shape of `mask`. All problems at once.
    """
    problems = shape_problems(mask, tensors)
    if problems:
        raise ValueError("; ".join(problems) + ".")
    inside, dtype = mask.bool(), precise(*tensors.values())
    return inside, *(torch.where(inside, tensor.to(dtype), 0.0) for tensor in tensors.values())


def shape_problems(mask: object, tensors: dict[str, torch.Tensor]) -> list[str]:
    """What is no tensor, or not of the shape (B, T) of `mask`."""
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        return [f"mask must be a tensor of shape (B, T), got {described(mask)}"]
    expected = tuple(mask.shape)
    return [
        f"{name} must be a tensor of the mask's shape (B, T) = {expected}, got {described(tensor)}"
        for name, tensor in tensors.items()
        if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != expected
    ]


def described(value: object) -> str:
    """A tensor's shape, or what else it is, for a message."""
    return f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def precise(*tensors: torch.Tensor) -> torch.dtype:
    """The dtype to compute in: the widest of the tensors', float32 at least."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)


def at_last_token(rewards: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Put the reward of each completion at its last token, where `advantages` looks for it.

    Args:
        rewards: (B,), or (B, n) for n rewards that are kept apart (`gdpo`); rewards of rows without a token are not
            read.
        mask: (B, T), 1 on the tokens of the response.

    Returns:
        (B, T) or (B, T, n), 0 elsewhere.

    Raises:
        ValueError: the numbers of rows differ.
    """
    if rewards.ndim not in (1, 2) or mask.ndim != 2 or len(rewards) != len(mask):
        raise ValueError(
            f"rewards must have the shape (B,) or (B, n) and mask (B, T), got {described(rewards)} and "
            f"{described(mask)}."
        )
    inside = mask.bool()
    # The last token is the one at which the count of tokens so far reaches the row's total.
    last = inside & (inside.cumsum(1) == inside.sum(1, keepdim=True))
    rewards = rewards.to(precise(rewards))
    if rewards.ndim == 1:
        return torch.where(last, rewards[:, None], 0.0)
    return torch.where(last[..., None], rewards[:, None, :], 0.0)
