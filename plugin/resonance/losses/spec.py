# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The contract every preference loss keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import torch

from ..spec import Range, Spec, attach, param_problems
from .pairs import LogpsRule, Pairs

F = TypeVar("F", bound=Callable[..., Any])


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
class LossSpec(Spec):
    """A loss, `fn(pairs, *, parameter=default, ...) -> LossOutput` (or a bare (B,) tensor of losses), and its needs.

    Attributes:
        needs_reference: True when it reads reference log-probs.
        needs_scores: True when it reads score_chosen and score_rejected.
        logps: the loss's own rule for log-probs, "sum" or "mean" over response tokens.
        logps_fixed: True when the loss is defined on that rule only.
        baseline: True when the caller passes `delta`, the running mean of rewards.
        needs_margin: True when it reads `margin`, a column of the data.
        needs_on_policy: True when it reads how likely the policy finds each response beside its own.
        needs_ranks: True when it compares the pairs of a batch on all ranks; there have to be two or more.
        needs_changed: True when it reads the tokens in which both responses differ by themselves.
        needs_corrupted: True when it reads the chosen response beside corrupted images.
        per_pair: True when its losses come in the order of the pairs.
    """

    kind: ClassVar[str] = "loss"
    inputs: ClassVar[Mapping[str, str]] = {"pairs": "the Pairs batch"}
    # One set of options serves every loss: "no label smoothing" is true of each.
    neutral: ClassVar[Mapping[str, object]] = {"label_smoothing": 0.0}

    needs_reference: bool = True
    needs_scores: bool = False
    logps: LogpsRule = "sum"
    logps_fixed: bool = False
    baseline: bool = False
    needs_margin: bool = False
    needs_on_policy: bool = False
    needs_ranks: bool = False
    needs_changed: bool = False
    needs_corrupted: bool = False
    per_pair: bool = True

    def param_problems(self, params: Mapping[str, object]) -> list[str]:
        """What is wrong with parameter values: unknown names, wrong types, values out of range."""
        return param_problems(self, params)

    def rule(self, average: bool | None) -> LogpsRule:
        """Whether it reads sums or means of log-probs.

        Args:
            average: whether means were asked for; None for the loss's own rule.
        """
        if average is None or self.logps_fixed:
            return self.logps
        return "mean" if average else "sum"

    def facts(self) -> str:
        """What `help` prints below the docstring of the loss."""
        models = "policy and reference" if self.needs_reference else "policy"
        rule = "by definition" if self.logps_fixed else "unless the caller chose otherwise"
        reads = f"log-probs of {models}, {self.logps}s over response tokens {rule}"
        missing = ["no reference"] if self.needs_reference else []
        if self.needs_scores:
            reads += "; scores of both responses"
            missing.append("no scores")
        if self.needs_margin:
            reads += "; the margin of the data"
            missing.append("no margin")
        if self.needs_on_policy:
            reads += "; how likely the policy finds both responses"
            missing.append("no such likelihoods")
        if self.needs_changed:
            reads += "; the same of the tokens alone in which both responses differ, `changed`"
            missing.append("no `changed`")
        if self.needs_corrupted:
            reads += "; those of the chosen response beside corrupted images, `corrupted`"
            missing.append("no `corrupted`")
        return f"""{super().facts()}
Reads of `pairs`, (B,) each:
    {reads}.
Returns:
    losses, (B,), and rewards beta * {"(lp - ref)" if self.needs_reference else "lp"}, (B,) and detached.
Raises:
    ValueError: {", ".join([*missing, "or through `preference_loss` a value out of range"])}."""

    def problems(self) -> list[str]:
        """Why the loss cannot be declared so; empty when it can."""
        found = super().problems()
        if self.logps not in ("sum", "mean"):
            found.append(f"logps={self.logps!r} must be 'sum' or 'mean'")
        if self.baseline and "delta" not in self.params:
            found.append("baseline=True needs a parameter 'delta'")
        return found


class LessUsual(TypedDict, total=False):
    """What few losses declare; attributes of LossSpec."""

    baseline: bool
    needs_margin: bool
    needs_on_policy: bool
    needs_ranks: bool
    needs_changed: bool
    needs_corrupted: bool
    per_pair: bool


def declare(
    name: str = "",
    *,
    paper: str = "",
    needs_reference: bool = True,
    needs_scores: bool = False,
    logps: LogpsRule = "sum",
    logps_fixed: bool = False,
    ranges: Mapping[str, Range] | None = None,
    **rest: Unpack[LessUsual],
) -> Callable[[F], F]:
    """Attach a LossSpec to a loss as `fn.spec`; the arguments are LossSpec's, `name` defaults to the function's own.

    `help` then prints what is declared below the loss's own docstring, so that it need not be written there again.

    Raises:
        ValueError: the function cannot be called as `fn(pairs, name=value, ...)`, `logps` is neither "sum" nor "mean",
            or `ranges` names a parameter the function does not have. All problems at once.
    """
    return attach(
        LossSpec,
        name,
        paper=paper,
        needs_reference=needs_reference,
        needs_scores=needs_scores,
        logps=logps,
        logps_fixed=logps_fixed,
        ranges=dict(ranges or {}),
        **rest,
    )
