# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The contract every preference loss keeps. Imports torch and nothing else of the project."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch

from .ranges import Range

LogpsRule = Literal["sum", "mean"]
LossFn = Callable[..., Any]
F = TypeVar("F", bound=LossFn)


@dataclass(frozen=True)
class Pairs:
    """One batch of B preference pairs; every tensor has the shape (B,).

    Log-probs are sums or means over response tokens, in nats, as the caller chose; the reference's must be made the
    same way as the policy's.

    Attributes:
        policy_chosen_logps: log pi(y_w | x), written lp_w below.
        policy_rejected_logps: log pi(y_l | x), lp_l.
        reference_chosen_logps: log ref(y_w | x), ref_w; None without a reference model.
        reference_rejected_logps: log ref(y_l | x), ref_l; None without a reference model.
        chosen_lengths, rejected_lengths: response lengths in tokens, or None.
        score_chosen, score_rejected: the data's scores S_w, S_l, or None.
    """

    policy_chosen_logps: torch.Tensor
    policy_rejected_logps: torch.Tensor
    reference_chosen_logps: torch.Tensor | None = None
    reference_rejected_logps: torch.Tensor | None = None
    chosen_lengths: torch.Tensor | None = None
    rejected_lengths: torch.Tensor | None = None
    score_chosen: torch.Tensor | None = None
    score_rejected: torch.Tensor | None = None

    def need(self, *names: str) -> tuple[torch.Tensor, ...]:
        """The named tensors; ValueError naming every one that is None."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise ValueError(f"This batch carries no {', '.join(missing)}: the loss needs {', '.join(names)}.")
        return tuple(getattr(self, name) for name in names)

    @property
    def chosen_logratios(self) -> torch.Tensor:
        """lp_w - ref_w, shape (B,). Raises ValueError without a reference."""
        return self.policy_chosen_logps - self.need("reference_chosen_logps")[0]

    @property
    def rejected_logratios(self) -> torch.Tensor:
        """lp_l - ref_l, shape (B,). Raises ValueError without a reference."""
        return self.policy_rejected_logps - self.need("reference_rejected_logps")[0]

    @property
    def pi_logratios(self) -> torch.Tensor:
        """Policy margin m = lp_w - lp_l, shape (B,)."""
        return self.policy_chosen_logps - self.policy_rejected_logps

    @property
    def ref_logratios(self) -> torch.Tensor:
        """Reference margin r = ref_w - ref_l, shape (B,). Raises ValueError without a reference."""
        chosen, rejected = self.need("reference_chosen_logps", "reference_rejected_logps")
        return chosen - rejected

    @property
    def logits(self) -> torch.Tensor:
        """D = m - r, shape (B,), not scaled by beta. Raises ValueError without a reference."""
        return self.pi_logratios - self.ref_logratios


@dataclass(frozen=True)
class LossOutput:
    """What a loss gives back; all shapes (B,).

    Attributes:
        losses: one loss a pair, with its gradient; the batch loss is their mean.
        chosen_rewards, rejected_rewards: implicit rewards of the responses, detached.
        stats: named detached values, one a pair, for logs.
    """

    losses: torch.Tensor
    chosen_rewards: torch.Tensor
    rejected_rewards: torch.Tensor
    stats: dict[str, torch.Tensor] = field(default_factory=dict)


def reference_output(pairs: Pairs, losses: torch.Tensor, beta: float, **stats: torch.Tensor) -> LossOutput:
    """A LossOutput with DPO's implicit rewards, beta * (lp - ref)."""
    return LossOutput(
        losses,
        (beta * pairs.chosen_logratios).detach(),
        (beta * pairs.rejected_logratios).detach(),
        {name: value.detach() for name, value in stats.items()},
    )


def policy_output(pairs: Pairs, losses: torch.Tensor, beta: float, **stats: torch.Tensor) -> LossOutput:
    """A LossOutput of a loss without a reference: rewards are beta * lp."""
    return LossOutput(
        losses,
        (beta * pairs.policy_chosen_logps).detach(),
        (beta * pairs.policy_rejected_logps).detach(),
        {name: value.detach() for name, value in stats.items()},
    )


@dataclass(frozen=True, eq=False)
class LossSpec:
    """A loss and what it needs; nobody else keeps such a list.

    Attributes:
        name: what a recipe writes.
        fn: the loss, `fn(pairs, *, parameter=default, ...) -> LossOutput` (or a bare (B,) tensor of losses).
        paper: where it comes from, e.g. "arXiv:2305.18290".
        needs_reference: True when it reads reference log-probs.
        needs_scores: True when it reads score_chosen and score_rejected.
        logps: the loss's own rule for log-probs, "sum" or "mean" over response tokens.
        logps_fixed: True when the loss is defined on that rule only.
        baseline: True when the caller passes `delta`, the running mean of rewards.
        ranges: parameter name -> allowed numbers.
    """

    name: str
    fn: LossFn
    paper: str = ""
    needs_reference: bool = True
    needs_scores: bool = False
    logps: LogpsRule = "sum"
    logps_fixed: bool = False
    baseline: bool = False
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Parameter name -> default, in the order of the signature."""
        rest = list(inspect.signature(self.fn).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in rest}


def signature_problems(fn: LossFn) -> list[str]:
    """Why `fn` cannot be called as `fn(pairs, name=value, ...)`; empty when it can."""
    parameters = list(inspect.signature(fn).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        return ["its first parameter must take the Pairs batch by position"]
    problems = []
    for parameter in parameters[1:]:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            problems.append(f"'{parameter}' hides which parameters it has; name each one")
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            problems.append(f"parameter '{parameter.name}' cannot be passed by name")
        elif parameter.default is inspect.Parameter.empty:
            problems.append(f"parameter '{parameter.name}' needs a default")
    return problems


def declare(
    name: str = "",
    *,
    paper: str = "",
    needs_reference: bool = True,
    needs_scores: bool = False,
    logps: LogpsRule = "sum",
    logps_fixed: bool = False,
    baseline: bool = False,
    ranges: Mapping[str, Range] | None = None,
) -> Callable[[F], F]:
    """Attach a LossSpec to a loss as `fn.spec`; the arguments are LossSpec's, `name` defaults to the function's own.

    Raises:
        ValueError: the function cannot be called as `fn(pairs, name=value, ...)`, `logps` is neither "sum" nor "mean",
            or `ranges` names a parameter the function does not have. All problems at once.
    """

    def attach(fn: F) -> F:
        spec = LossSpec(
            name=name or fn.__name__,
            fn=fn,
            paper=paper,
            needs_reference=needs_reference,
            needs_scores=needs_scores,
            logps=logps,
            logps_fixed=logps_fixed,
            baseline=baseline,
            ranges=dict(ranges or {}),
        )
        problems = signature_problems(fn)
        if logps not in ("sum", "mean"):
            problems.append(f"logps={logps!r} must be 'sum' or 'mean'")
        if not problems:
            problems += [
                f"ranges names '{key}', which is no parameter" for key in spec.ranges if key not in spec.params
            ]
            if baseline and "delta" not in spec.params:
                problems.append("baseline=True needs a parameter 'delta'")
        if problems:
            raise ValueError(f"Loss '{spec.name}' cannot be declared: {'; '.join(problems)}.")
        fn.spec = spec  # type: ignore[attr-defined]
        return fn

    return attach
