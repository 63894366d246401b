# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an advantage is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from .groups import Groups
from .tensors import described, precise, shape_problems

REFUSED_ROWS = 5


@dataclass(frozen=True, eq=False)
class Rollout:
    """The rewards of B completions of at most T tokens, checked; nothing outside the mask is read.

    A row without a token takes no part: neither in the statistics of its group nor in a mean, whatever its reward.

    Attributes:
        token_rewards: (B, T), a reward after each token; the reward of a whole completion is at its last token, as
            `at_last_token` puts it. (B, T, n) for n rewards that are kept apart, where NaN leaves a reward out.
        mask: (B, T), True on the tokens that the policy sampled.
        group: (B,), equal numbers for completions of one prompt, or None.
        values: (B, T), what a critic expects from each token on, or None.
    """

    token_rewards: torch.Tensor
    mask: torch.Tensor
    group: torch.Tensor | None = None
    values: torch.Tensor | None = None

    @classmethod
    def checked(
        cls,
        token_rewards: torch.Tensor,
        mask: torch.Tensor,
        group: torch.Tensor | None,
        values: torch.Tensor | None,
        parts: bool,
    ) -> Rollout:
        """A rollout in one precision, or a ValueError with all that is wrong with it.

        Args:
            token_rewards, mask, group, values: as the attributes; the mask may hold numbers.
            parts: True where (B, T, n) rewards are allowed.
        """
        problems = _problems(token_rewards, mask, group, values, parts)
        if problems:
            raise ValueError("\n".join(f"  - {line}" for line in problems))
        inside = mask.bool()
        dtype = precise(token_rewards, *([] if values is None else [values]))
        shown = inside[..., None] if token_rewards.ndim == 3 else inside
        rewards = torch.where(shown, token_rewards.detach().to(dtype), 0.0)
        if values is not None:
            values = torch.where(inside, values.detach().to(dtype), 0.0)
        if bad := _bad_numbers(rewards, values):
            raise ValueError("\n".join(f"  - {line}" for line in bad))
        return cls(rewards, inside, group, values)

    @cached_property
    def scores(self) -> torch.Tensor:
        """The sum of the rewards of each completion, (B,) or (B, n)."""
        return self.token_rewards.sum(1)

    @cached_property
    def scored(self) -> torch.Tensor:
        """(B,), True for rows with a token."""
        return self.mask.any(1)

    @cached_property
    def groups(self) -> Groups:
        """Which rows answer the same prompt. ValueError without groups, or for a group of one."""
        if self.group is None:
            raise ValueError("needs group, (B,) numbers that are equal for completions of one prompt")
        groups = Groups.of(self.group)
        alone = (groups.members.sum(1) == 1)[groups.index].nonzero().flatten().tolist()
        if alone:
            raise ValueError(
                f"compares completions of one prompt, and {_listed(alone)} the only one of its group "
                f"(group {self.group[alone[0]].item()}); sample two a prompt or more (num_generations), or "
                f"take one without groups: gae or reinforce_plus_plus"
            )
        return groups

    @property
    def critic(self) -> torch.Tensor:
        """The values. ValueError without a critic."""
        if self.values is None:
            raise ValueError("needs values, the critic's (B, T)")
        return self.values

    def over_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """A number a completion, (B,), at each of its tokens: (B, T), 0 outside the mask."""
        return torch.where(self.mask, x[:, None], 0.0)


def _problems(rewards: object, mask: object, group: object, values: object, parts: bool) -> list[str]:
    flat = rewards[..., 0] if parts and isinstance(rewards, torch.Tensor) and rewards.ndim == 3 else rewards
    named = {"token_rewards": flat} | ({} if values is None else {"values": values})
    problems = shape_problems(mask, named)  # type: ignore[arg-type]
    if group is not None and (
        not isinstance(group, torch.Tensor)
        or group.is_floating_point()
        or not isinstance(mask, torch.Tensor)
        or tuple(group.shape) != tuple(mask.shape[:1])
    ):
        kind = f", {group.dtype}" if isinstance(group, torch.Tensor) else ""
        problems.append(f"group must be a tensor of whole numbers of shape (B,), got {described(group)}{kind}")
    return problems


def _bad_numbers(rewards: torch.Tensor, values: torch.Tensor | None) -> list[str]:
    """Rows with a reward or a value that is no finite number; among rewards kept apart NaN stands for none."""
    bad = torch.isinf(rewards).any(-1) if rewards.ndim == 3 else ~torch.isfinite(rewards)
    found = [("token_rewards", rewards, bad)]
    if values is not None:
        found.append(("values", values, ~torch.isfinite(values)))
    problems = [
        f"{name} must be finite: {_listed(rows)} not, first {tensor[rows[0]][flags[rows[0]]][0].tolist()!r}"
        for name, tensor, flags in found
        if (rows := flags.any(1).nonzero().flatten().tolist())
    ]
    if rewards.ndim == 3 and (rows := rewards.isnan().any(1).all(1).nonzero().flatten().tolist()):
        problems.append(f"{_listed(rows)} without any reward (all of token_rewards are NaN there); set its mask to 0")
    return problems


def _listed(rows: list[int]) -> str:
    """Rows with their verb: "row 3 is", "rows 3, 5 are", "rows 1, 2, 3, 4, 5 and 7 more are"."""
    if len(rows) == 1:
        return f"row {rows[0]} is"
    more = f" and {len(rows) - REFUSED_ROWS} more" if len(rows) > REFUSED_ROWS else ""
    return f"rows {', '.join(map(str, rows[:REFUSED_ROWS]))}{more} are"
