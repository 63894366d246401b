# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The line that a preference run begins its log with: which loss, on what, against what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..arguments.parameters import MODIFIERS


def opening(
    recipe: Any, parameters: Mapping[str, Any], means: bool, cached: str | None, datasets: tuple[Any, ...]
) -> str:
    """One line on a run of our trainer.

    Args:
        recipe: finetuning arguments.
        parameters: of the loss.
        means: whether it reads mean log-probabilities a token, else sums.
        cached: the folder with the reference's log-probabilities, if they are on disk.
        datasets: training and evaluation set; None, dicts of sets and streams allowed.
    """
    modifiers = {key: getattr(recipe, key, None) for key in MODIFIERS}
    given = [f"{name} {value}" for name, value in {**parameters, **modifiers}.items() if value]
    of = "mean log-probabilities a token" if means else "log-probabilities of whole responses"
    sizes = [
        f"{size} to {what}" for size, what in zip(map(_size, datasets), ("train on", "evaluate"), strict=True) if size
    ]
    return (
        f"pref_loss: {recipe.pref_loss} ({', '.join(given) or 'no parameters'}) of {of}; trainer: Resonance's; "
        f"reference: {_reference(recipe, cached)}; pairs: {', '.join(sizes) or 'none'}."
    )


def _reference(recipe: Any, cached: str | None) -> str:
    if not recipe.use_ref_model:
        return "none"
    if cached is not None:
        return f"log-probabilities in {cached}"
    if recipe.ref_model is not None:
        return str(recipe.ref_model)
    if recipe.finetuning_type == "lora":
        return "the model with its adapters off"
    return "the model as it was loaded"


def _size(dataset: Any) -> str:
    """How many pairs; nothing for no set."""
    if isinstance(dataset, dict):
        return " + ".join(filter(None, map(_size, dataset.values())))
    if dataset is None:
        return ""
    return str(len(dataset)) if hasattr(dataset, "__len__") else "a stream"
