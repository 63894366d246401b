# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Losses that read more than log-probabilities of whole responses: their key, and what does not go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..rows.plan import CORRUPTIONS, Corruption

if TYPE_CHECKING:
    from ..losses import LossSpec

IMAGE = "mdpo_image"


@dataclass
class ImageKeys:
    r"""The key of losses that compare images with corrupted ones."""

    mdpo_image: Corruption = field(
        default="crop",
        metadata={
            "help": (
                "mDPO and CHiP: what becomes of the images that the chosen response is compared on: crop (a random 1 "
                "to 20 % of the image, enlarged to its size), noise (random pixels), diffusion (noise over the image) "
                "or blank (black)."
            )
        },
    )


def reads_corrupted(pref_loss: Any) -> bool:
    """Whether a loss, by its name, reads a third row a pair."""
    from ..losses import get_loss

    return get_loss(pref_loss).needs_corrupted


def beyond_problems(values: Mapping[str, Any], spec: LossSpec) -> list[str]:
    """Keys of a recipe whose effect such a loss would not have.

    Args:
        values: of the recipe, with defaults.
        spec: of its loss.
    """
    found, loss = [], f"pref_loss: {spec.name}"
    if values[IMAGE] not in CORRUPTIONS:
        found.append(f"{IMAGE}: {values[IMAGE]!r} is not one of {', '.join(CORRUPTIONS)}")
    if not (spec.needs_changed or spec.needs_corrupted):
        return found
    reads = "token by token" if spec.needs_changed else "beside corrupted images too"
    if values["precompute_ref_log_probs"]:
        found.append(
            f"precompute_ref_log_probs: {loss} reads the reference {reads}, and what is kept on disk are sums over "
            "whole responses; remove the key"
        )
    if values.get("ld_alpha") is not None:
        found.append(f"ld_alpha: {loss} compares sums that it would not shorten alike; remove the key")
    return found
