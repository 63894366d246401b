# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The contracts that advantages and policy losses keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch

from ..spec import Range, Spec, attach
from .tensors import masked

F = TypeVar("F", bound=Callable[..., Any])
# exp(20) is 5e8: no ratio of use is beyond it, and float32 stays finite.
MAX_LOG_RATIO = 20.0
UP_TO_ONE = Range(low=0.0, high=1.0)
DISCOUNT = Range(low=0.0, high=1.0, tensor=True)


@dataclass(frozen=True)
class OrNone(Range):
    """A range, or None, which switches off what the parameter is for."""

    def __str__(self) -> str:
        return f"{super().__str__()}, or null"

    def allows(self, value: object) -> bool:
        """True for None, or a number inside the range."""
        return value is None or super().allows(value)


@dataclass(frozen=True, eq=False)
class AdvantageSpec(Spec):
    """Advantages, `fn(rollout, *, parameter=default, ...) -> (advantages, returns or None)`, both (B, T).

    Attributes:
        parts: True when it takes rewards that are kept apart, (B, T, n).
    """

    kind: ClassVar[str] = "advantage"
    inputs: ClassVar[Mapping[str, str]] = {"rollout": "the Rollout"}

    parts: bool = False


@dataclass(frozen=True, eq=False)
class PolicyLossSpec(Spec):
    """A policy loss, `fn(batch, *, parameter=default, ...) -> TokenLosses` (or a bare (B, T) tensor of losses)."""

    kind: ClassVar[str] = "policy loss"
    inputs: ClassVar[Mapping[str, str]] = {"batch": "the Tokens batch"}


@dataclass(frozen=True, eq=False)
class Tokens:
    """One batch of B responses of at most T tokens; all (B, T), in one dtype, 0 outside the mask.

    Attributes:
        logps: log pi(y_t | x, y_<t) of the policy that is trained, in nats, with gradient.
        old_logps: the same of the policy that the responses were sampled from.
        advantages: in the unit that the advantage function left them.
        mask: True on the tokens that the policy sampled.
    """

    logps: torch.Tensor
    old_logps: torch.Tensor
    advantages: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def checked(
        cls, logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
    ) -> Tokens:
        """A batch in one precision; what is not `logps` is detached. ValueError for other shapes, all at once."""
        if not (isinstance(logps, torch.Tensor) and logps.is_floating_point()):
            got = logps.dtype if isinstance(logps, torch.Tensor) else type(logps).__name__
            raise ValueError(f"logps must be a tensor of floating-point numbers, got {got}.")
        inside, logps, old, advantages = masked(mask, logps=logps, old_logps=old_logps, advantages=advantages)
        return cls(logps, old.detach(), advantages.detach(), inside)

    @cached_property
    def log_ratio(self) -> torch.Tensor:
        """logps - old_logps, held within 20 nats so that its exponential is finite."""
        return (self.logps - self.old_logps).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)

    @cached_property
    def ratio(self) -> torch.Tensor:
        """rho_t = pi(y_t) / pi_old(y_t), exactly 1 where the policy has not moved."""
        return self.log_ratio.exp()

    @cached_property
    def lengths(self) -> torch.Tensor:
        """Tokens a response, (B, 1), 1 for a row without any."""
        return self.mask.sum(1, keepdim=True).clamp(min=1)


@dataclass(frozen=True)
class TokenLosses:
    """What a policy loss returns.

    Attributes:
        losses: (B, T), one loss a token, with its gradient; the aggregation makes a scalar of them.
        stats: named values a token, (B, T), for logs; their mean over the tokens of the global batch is logged.
    """

    losses: torch.Tensor
    stats: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyLossOutput:
    """A policy loss of one batch.

    Attributes:
        loss: scalar, with the gradient of the log-probs.
        stats: named scalars, detached and still on their device: means over the tokens of the global batch, so that
            those of its micro-batches and ranks add up.
    """

    loss: torch.Tensor
    stats: dict[str, torch.Tensor]


def declare_advantage(
    *, paper: str, parts: bool = False, ranges: Mapping[str, Range] | None = None
) -> Callable[[F], F]:
    """Declare a function of a Rollout as an advantage, `fn.spec`; the arguments are AdvantageSpec's.

    Raises:
        ValueError: it cannot be called as `fn(rollout, name=value, ...)`, or `ranges` names no parameter.
    """
    return attach(AdvantageSpec, paper=paper, parts=parts, ranges=dict(ranges or {}))


def declare_policy_loss(*, paper: str, ranges: Mapping[str, Range] | None = None) -> Callable[[F], F]:
    """Declare a function of Tokens as a policy loss, `fn.spec`; the arguments are PolicyLossSpec's.

    Raises:
        ValueError: it cannot be called as `fn(batch, name=value, ...)`, or `ranges` names no parameter.
    """
    return attach(PolicyLossSpec, paper=paper, ranges=dict(ranges or {}))
