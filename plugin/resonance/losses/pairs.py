# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One batch of preference pairs: what losses read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from .margins import Margins

LogpsRule = Literal["sum", "mean"]


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
        margin: the data's margin of a pair, or None.
        chosen_on_policy, rejected_on_policy: mean over response tokens of log(p_t / sum_v p_v ** 2), p being the
            policy's probabilities at that token, without a gradient; or None.
        changed: the same pairs by the tokens alone in which both responses differ, sums with their numbers as lengths;
            or None.
        corrupted: the chosen responses beside their images, as the chosen, and beside corrupted ones, as the rejected;
            or None.
        ranks: the margins of the batch on all ranks, or None: then this batch is all there is.
        logps: whether log-probs are sums or means; None for the loss's own rule.
    """

    policy_chosen_logps: torch.Tensor
    policy_rejected_logps: torch.Tensor
    reference_chosen_logps: torch.Tensor | None = None
    reference_rejected_logps: torch.Tensor | None = None
    chosen_lengths: torch.Tensor | None = None
    rejected_lengths: torch.Tensor | None = None
    score_chosen: torch.Tensor | None = None
    score_rejected: torch.Tensor | None = None
    margin: torch.Tensor | None = None
    chosen_on_policy: torch.Tensor | None = None
    rejected_on_policy: torch.Tensor | None = None
    changed: Pairs | None = None
    corrupted: Pairs | None = None
    ranks: Margins | None = None
    logps: LogpsRule | None = None

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

    @property
    def score_margin(self) -> torch.Tensor:
        """S_w - S_l in the type of the log-probs, shape (B,). Raises ValueError without scores."""
        chosen, rejected = self.need("score_chosen", "score_rejected")
        return (chosen - rejected).to(self.policy_chosen_logps.dtype)

    @property
    def chosen_mean(self) -> torch.Tensor:
        """Mean log-prob a token of the chosen response, shape (B,). Raises ValueError for sums without lengths."""
        if self.logps == "mean":
            return self.policy_chosen_logps
        return self.policy_chosen_logps / self.need("chosen_lengths")[0]

    @property
    def margins(self) -> Margins:
        """`ranks`, or the margins D of this batch alone."""
        return self.ranks if self.ranks is not None else Margins.of(self.logits)

    def as_rule(self, rule: LogpsRule) -> Pairs:
        """The same pairs with sums or means of log-probs. Raises ValueError if they lack the lengths for it."""
        if self.logps == rule:
            return self
        lengths = dict(zip(("chosen", "rejected"), self.need("chosen_lengths", "rejected_lengths"), strict=True))
        changed: dict[str, Any] = {}
        for model in ("policy", "reference"):
            for side, length in lengths.items():
                logps = getattr(self, f"{model}_{side}_logps")
                if logps is not None:
                    changed[f"{model}_{side}_logps"] = logps / length if rule == "mean" else logps * length
        if self.corrupted is not None:
            changed["corrupted"] = self.corrupted.as_rule(rule)
        return replace(self, logps=rule, **changed)
