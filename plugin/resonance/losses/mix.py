# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Several losses at once, each with a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..spec import NON_NEGATIVE, nearest_first, own_params
from .compute import pairs_loss
from .pairs import LogpsRule
from .spec import LossOutput, LossSpec, Pairs

OWN = ("weights", "average")  # parameters of a mix itself
MARGINS = ("pi_logratios", "ref_logratios", "logits")  # the mix has them once


def part_names(given: str | Sequence[str]) -> list[Any]:
    """Names of losses in a list or between commas."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",")]
    return list(given) if isinstance(given, list | tuple) and given else [given]


@dataclass(frozen=True, eq=False)
class MixSpec(LossSpec):
    """A mix of losses; it needs what its parts need, and has their parameters.

    Attributes:
        parts: the losses, in the order of their weights.
    """

    parts: tuple[LossSpec, ...] = ()

    @cached_property
    def params(self) -> dict[str, Any]:
        """Parameter name -> default: those of the mix, then those of its parts."""
        merged: dict[str, Any] = {"weights": [1.0] * len(self.parts), "average": None}
        for part in self.parts:
            for name, default in part.params.items():
                merged[name] = merged.get(name) or default  # one part may do nothing with it by default
        return merged

    def param_problems(self, params: Mapping[str, object]) -> list[str]:
        """As of any loss; a part judges the parameters that it has."""
        found = weight_problems(params.get("weights", self.params["weights"]), self.parts)
        for name, value in own_params(self, params).items():
            owners = [part for part in self.parts if name in part.params]
            if not owners and name not in OWN:
                found.append(f"{self.name} has no parameter '{name}' ({nearest_first(name, self.params)})")
            found += [line for part in owners for line in part.param_problems({name: value})]
        return found


def weight_problems(weights: object, parts: Sequence[LossSpec]) -> list[str]:
    """What is wrong with the weights of a mix."""
    names = ", ".join(part.name for part in parts)
    if not isinstance(weights, list | tuple):
        return [f"weights={weights!r} is not allowed, it must be a list of numbers, one for each of {names}"]
    if len(weights) != len(parts):
        return [f"weights={list(weights)!r} are {len(weights)} numbers for {len(parts)} losses: {names}"]
    wrong = [weight for weight in weights if not NON_NEGATIVE.allows(weight)]
    if wrong:
        return [f"weights={list(weights)!r}: {wrong[0]!r} is not allowed, each must be {NON_NEGATIVE}"]
    return [] if any(weights) else [f"weights={list(weights)!r}: at least one must be above 0"]


def make_mix(parts: Sequence[LossSpec]) -> MixSpec:
    """The mix of these losses.

    Raises:
        ValueError: a loss that is there twice, or one that compares the pairs of a batch by means while another reads
            sums.
    """
    names = [part.name for part in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"A mix has each loss once, found twice: {', '.join(twice)}. Add their weights.")
    rule: LogpsRule = "mean" if all(part.logps == "mean" for part in parts) else "sum"
    for part in parts:
        if part.needs_ranks and part.logps != rule:
            sums = [other.name for other in parts if other.logps == rule]
            raise ValueError(
                f"{part.name} compares the pairs of a batch by means of log-probs, so it cannot be mixed with "
                f"{', '.join(sums)}, which read sums; mix it with losses that read means, such as sft."
            )

    def mixed(
        pairs: Pairs, *, weights: Sequence[float] = (), average: bool | None = None, **params: Any
    ) -> LossOutput:
        return mix_losses(parts, pairs, weights or [1.0] * len(parts), average, params)

    mixed.__doc__ = _help(names)
    return MixSpec(
        name=",".join(names),
        fn=mixed,
        needs_reference=any(part.needs_reference for part in parts),
        needs_scores=any(part.needs_scores for part in parts),
        logps=rule,
        logps_fixed=all(part.logps_fixed for part in parts),
        baseline=any(part.baseline for part in parts),
        needs_margin=any(part.needs_margin for part in parts),
        needs_on_policy=any(part.needs_on_policy for part in parts),
        needs_ranks=any(part.needs_ranks for part in parts),
        needs_changed=any(part.needs_changed for part in parts),
        needs_corrupted=any(part.needs_corrupted for part in parts),
        per_pair=all(part.per_pair for part in parts),
        parts=tuple(parts),
    )


def _help(names: Sequence[str]) -> str:
    """What `resonance losses` prints of a mix."""
    pages = " and ".join(f"`resonance losses {name}`" for name in names)
    return f"""A mix of {", ".join(names[:-1])} and {names[-1]}.

Formula: the sum of weight * loss. A part reads sums or means of log-probs by its own rule, unless the caller chose
otherwise. Rewards are those of the first part with a reference, or of the first.

Args:
    weights: one a loss, not negative; 1 each if they are not given. In a recipe `pref_loss_weights`.

The parameters of its parts, and what they need: {pages}.

Stats: the loss of each part and its statistics, as PART/loss and so on."""


def mix_losses(
    parts: Sequence[LossSpec],
    pairs: Pairs,
    weights: Sequence[float],
    average: bool | None,
    params: Mapping[str, Any],
) -> LossOutput:
    """The weighted sum of losses, (B,).

    Args:
        parts: the losses.
        pairs: with lengths, if a part reads other log-probs than they have.
        weights: one a part.
        average: whether parts read means; None for the rule of each.
        params: each part gets those that it has.
    """
    outputs = [
        pairs_loss(part, pairs.as_rule(part.rule(average)), {k: v for k, v in params.items() if k in part.params})
        for part in parts
    ]
    total = torch.stack([weight * output.losses for weight, output in zip(weights, outputs, strict=True)]).sum(0)
    stats = {}
    for part, output in zip(parts, outputs, strict=True):
        stats[f"{part.name}/loss"] = output.losses.detach()
        stats |= {f"{part.name}/{name}": value for name, value in output.stats.items() if name not in MARGINS}
    first = next((output for part, output in zip(parts, outputs, strict=True) if part.needs_reference), outputs[0])
    return LossOutput(total, first.chosen_rewards, first.rejected_rewards, stats)
