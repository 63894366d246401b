# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Keys of a recipe that would have no effect. Judged by what is written, so that a default counts, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import data, feedback, preference
from .beyond import IMAGE
from .curriculum import WARMED, WARMUP
from .parameters import LOSS_PARAMETERS

# LlamaFactory's keys about rows that its pairwise processor does not read.
_OF_A_LOSS = {**LOSS_PARAMETERS, WARMUP: WARMED}
_NOT_OF_PAIRS = ("packing", "neat_packing", "train_on_prompt", "mask_history")


def given_without_effect(given: Mapping[str, Any]) -> list[str]:
    """Keys of a recipe, as it is written, that nothing would read; as messages that start with the key."""
    stage = given.get("stage", preference.DEFAULTS["stage"])
    ours = preference.runs_on_resonance(given)
    if stage != "dpo":
        return _outside_dpo(given, stage)
    found = _of_another_loss(given, ours)
    if given.get("do_predict") and (ours or not (given.get("do_train") or given.get("do_eval"))):
        found.append("do_predict: stage: dpo generates nothing; predict in `stage: sft`, or set `do_eval: true`")
    if ours:
        found += [f"{key}: has no meaning for pairs; remove it" for key in _NOT_OF_PAIRS if given.get(key)]
    return found


def _outside_dpo(given: Mapping[str, Any], stage: str) -> list[str]:
    if stage not in data.RATIO_STAGES:
        return []  # which stage was meant is not known
    keys = [key for key in (*_OF_A_LOSS, IMAGE) if key in given and key in preference.DEFAULTS]
    loss = given.get("pref_loss")
    if loss is not None and loss not in preference.NAMES_OF_LLAMAFACTORY:
        return [f"pref_loss: {loss} has a meaning in stage: dpo only, and this is stage: {stage}"]
    at_default = [key for key in keys if given[key] == preference.DEFAULTS[key]]  # others are refused after parsing
    return [f"{key}: has a meaning in stage: dpo only" for key in at_default]


def _of_another_loss(given: Mapping[str, Any], ours: bool) -> list[str]:
    """Parameters that the loss of the recipe does not have."""
    from ..losses import get_loss

    loss = given.get("pref_loss", preference.DEFAULTS["pref_loss"])
    named = f"pref_loss: {loss}" if "pref_loss" in given else f"this recipe has no pref_loss, which means {loss}"
    try:
        spec = get_loss(loss)
    except ValueError:
        return []  # reported with the values
    found = []
    for key, name in _OF_A_LOSS.items():
        own = key in preference.DEFAULTS
        if key in given and (own or ours) and key != "dpo_label_smoothing" and name not in spec.params:
            owner = "`pref_loss: uni_dpo`" if own else "another loss"
            found.append(f"{key}: is a parameter of {owner}, and {named}")
    if IMAGE in given and not spec.needs_corrupted:
        found.append(f"{IMAGE}: is a parameter of `pref_loss: mdpo` and `chip_visual`, and {named}")
    if given.get("pref_loss_params") and not ours:
        found.append(f"pref_loss_params: LlamaFactory's trainer, which runs {loss} here, reads none; remove the key")
    if ours and not spec.needs_reference and given.get("pref_bco_weight"):
        found.append(f"pref_bco_weight: needs a reference model, and pref_loss: {loss} has none")
    return found


def does_nothing(values: Mapping[str, Any]) -> list[str]:
    """The problem of a recipe of pairs, or of KTO on our trainer, that neither trains nor evaluates."""
    pairs = values.get("stage") in data.PAIR_STAGES or feedback.runs_on_resonance(values)
    asked = any(values.get(key) for key in ("do_train", "do_eval", "do_predict", "precompute_only"))
    if not pairs or asked or preference.evaluates_only(values):
        return []
    return ["do_train: this recipe neither trains nor evaluates; set `do_train: true`, or `do_eval: true`"]
