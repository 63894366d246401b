# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The contract every preference loss keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

import torch

from ..spec import Range, Spec, attach

LogpsRule = Literal["sum", "mean"]
F = TypeVar("F", bound=Callable[..., Any])


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
class LossSpec(Spec):
    """A loss, `fn(pairs, *, parameter=default, ...) -> LossOutput` (or a bare (B,) tensor of losses), and its needs.

    Attributes:
        needs_reference: True when it reads reference log-probs.
        needs_scores: True when it reads score_chosen and score_rejected.
        logps: the loss's own rule for log-probs, "sum" or "mean" over response tokens.
        logps_fixed: True when the loss is defined on that rule only.
        baseline: True when the caller passes `delta`, the running mean of rewards.
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

    def facts(self) -> str:
        """What `help` prints below the docstring of the loss."""
        models = "policy and reference" if self.needs_reference else "policy"
        rule = "by definition" if self.logps_fixed else "unless the caller chose otherwise"
        reads = f"log-probs of {models}, {self.logps}s over response tokens {rule}"
        missing = ["no reference"] if self.needs_reference else []
        if self.needs_scores:
            reads += "; scores of both responses"
            missing.append("no scores")
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
        baseline=baseline,
        ranges=dict(ranges or {}),
    )
