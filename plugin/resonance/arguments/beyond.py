# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What does not go with losses that read more than log-probabilities of whole responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..losses import LossSpec


def beyond_problems(values: Mapping[str, Any], spec: LossSpec) -> list[str]:
    """Keys of a recipe whose effect such a loss would not have.

    Args:
        values: of the recipe, with defaults.
        spec: of its loss.
    """
    if not spec.needs_changed:
        return []
    found, loss = [], f"pref_loss: {spec.name}"
    if values["precompute_ref_log_probs"]:
        found.append(
            f"precompute_ref_log_probs: {loss} reads the reference token by token, and what is kept on disk are sums "
            "over whole responses; remove the key"
        )
    if values.get("ld_alpha") is not None:
        found.append(f"ld_alpha: {loss} gives tokens weights of its own; remove the key")
    return found
