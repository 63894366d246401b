# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys that weigh losses and pairs: mixes of several losses, and weights from a column of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..losses import LossSpec


@dataclass
class WeightKeys:
    r"""Keys of the DPO stage that weigh losses and pairs."""

    pref_loss_weights: str | None = field(
        default=None,
        metadata={
            "help": (
                "Weights of a mix of losses, one for each name of pref_loss, e.g. [0.8, 0.2, 1.0] for pref_loss: "
                "[sigmoid, bco_pair, sft], which is MPO (with commas as a flag). Unset: 1 each."
            )
        },
    )
    sample_weights: bool = field(
        default=False,
        metadata={
            "help": (
                "Multiply the loss of each training pair by the column `weight` of its data set. The batch loss stays "
                "the mean over pairs, so weights with a mean of 1 keep the size of steps."
            )
        },
    )


def loss_name(given: Any) -> Any:
    """`pref_loss` as one name: a mix, given as a list, is named by its parts with commas between them."""
    if isinstance(given, list | tuple) and all(isinstance(part, str) for part in given):
        return ",".join(given)
    return ",".join(part.strip() for part in given.split(",")) if isinstance(given, str) else given


def mix_weights(given: Any) -> Any:
    """`pref_loss_weights` as a list of numbers, or what was given; None if nothing was."""
    parts = given.strip("[] ").split(",") if isinstance(given, str) else given
    try:
        return [float(part) if isinstance(part, str) else part for part in parts]
    except (TypeError, ValueError):
        return given


def weight_problems(values: Mapping[str, Any], spec: LossSpec) -> list[str]:
    """What is wrong with these keys beside the weights themselves, which the mix judges.

    Args:
        values: of the recipe, with defaults.
        spec: of its loss.
    """
    from ..losses import MixSpec

    found, asked = [], values["sample_weights"]
    if not isinstance(asked, bool):
        found.append(f"sample_weights: {asked!r} is not true or false")
    elif asked and not spec.per_pair:
        found.append(f"sample_weights: pref_loss: {spec.name} sorts pairs, so that a loss belongs to none of them")
    if values["pref_loss_weights"] is not None and not isinstance(spec, MixSpec):
        found.append(f"pref_loss_weights: pref_loss: {spec.name} is one loss; weights are for a list of losses")
    return found
