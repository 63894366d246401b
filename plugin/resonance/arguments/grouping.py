# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipe key `group_prompts`, whether the pairs of a prompt follow one another in an epoch; orders that differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .preference import evaluates_only

AUTO = "auto"
_WORDS = {AUTO: None, "true": True, "false": False}  # words are what a flag of the command line brings


def asked_grouping(given: Any) -> bool | None:
    """What a recipe asks for; None for `auto`.

    Raises:
        ValueError: for anything but `auto`, `true` and `false`.
    """
    if isinstance(given, bool):
        return given
    if not isinstance(given, str) or given.lower() not in _WORDS:
        raise ValueError(f"group_prompts: {given!r} is not understood; allowed: {', '.join(_WORDS)}")
    return _WORDS[given.lower()]


def grouping_problems(values: Mapping[str, Any]) -> list[str]:
    """What in a recipe keeps an order that it asks for from having an effect; `group_prompts: auto` yields to all."""
    grouped, ordered = str(values.get("group_prompts", AUTO)).lower() == "true", values.get("score_order")
    asked = ["group_prompts: true"] * grouped + [f"score_order: {ordered}"] * (ordered is not None)
    strategy = values.get("train_sampling_strategy") or "random"
    other = {
        "streaming: true": (values.get("streaming"), "reads the rows in their order"),
        "disable_shuffling: true": (values.get("disable_shuffling"), "keeps the rows in their order"),
        f"train_sampling_strategy: {strategy}": (strategy != "random", "has an order of its own"),
        "group_by_length: true": (values.get("group_by_length"), "has an order of its own"),
        "group_prompts: true": (grouped and ordered is not None, "has an order of its own"),
        "do_train: false": (ordered is not None and evaluates_only(values), "takes no step"),
    }
    return [
        f"{each} does not go with `{key}`, which {why}; remove one of the two"
        for each in asked
        for key, (given, why) in other.items()
        if given and key != each
    ]
