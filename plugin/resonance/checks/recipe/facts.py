# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a run is, in a few lines: its loss, its trainer, its reference, its steps, its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...arguments import feedback, parameters, policy, preference, reward_model
from .steps import Steps


def loss_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the preference loss of a recipe without errors; empty for another stage."""
    if given.get("stage") != "dpo":
        return {}
    return parameters.loss_parameters(_values(given))


def reads_scores(given: Mapping[str, Any]) -> bool:
    """Whether the loss of a recipe without errors reads scores."""
    return given.get("stage") == "dpo" and parameters.reads_scores(_values(given)["pref_loss"])


def facts(given: Mapping[str, Any], steps: Steps, devices: int) -> list[str]:
    """Lines about a recipe without errors.

    Args:
        given: the recipe.
        steps: of its run.
        devices: on all nodes together.
    """
    return [_kind(given), _batches(given, steps, devices)]


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    values = {"dpo_label_smoothing": 0.0, "pref_beta": 0.1, "simpo_gamma": 0.5, **preference.DEFAULTS, **given}
    values = parameters.as_numbers(values)
    values["pref_loss"] = preference.loss_name(values["pref_loss"])
    return values


def _kind(given: Mapping[str, Any]) -> str:
    """The first line: what learns, by which loss, on whose trainer."""
    stage, tuned = given.get("stage", "sft"), given.get("finetuning_type", "lora")
    ours = any(room.runs_on_resonance(given) for room in (preference, reward_model, feedback))
    trainer = "Resonance's trainer" if ours or policy.is_policy_stage(given) else "LlamaFactory's trainer"
    if stage == "ppo":
        what = f"ppo_variant: {given.get('ppo_variant', 'ppo')}"
    elif stage == "dpo":
        values = _values(given)
        shown = ", ".join(f"{name} {value}" for name, value in loss_values(given).items() if value)
        what = f"pref_loss: {values['pref_loss']} ({shown or 'no parameters'}); reference: {_reference(values)}"
    else:
        what = f"stage: {stage}"
    return f"{what}; finetuning_type: {tuned}; {trainer}"


def _reference(values: Mapping[str, Any]) -> str:
    if not parameters.needs_reference(values["pref_loss"]):
        return "none"
    if values.get("precompute_ref_log_probs"):
        return "log-probabilities on disk"
    if values.get("ref_model"):
        return str(values["ref_model"])
    adapters = values.get("finetuning_type", "lora") == "lora"
    return "the model with its adapters off" if adapters else "a copy of the model"


def _batches(given: Mapping[str, Any], steps: Steps, devices: int) -> str:
    size, accumulated = given.get("per_device_train_batch_size", 8), given.get("gradient_accumulation_steps", 1)
    rows = "rows not counted" if steps.rows is None else f"{steps.rows:,} rows"
    one, several = ("process", "processes") if given.get("use_cpu") else ("GPU", "GPUs")
    many = f"{devices} {one if devices == 1 else several}"
    line = f"{rows}; {size} x {accumulated} accumulated x {many} = {steps.batch} rows a step"
    if steps.epoch is not None:
        line += f", {steps.epoch:,} steps an epoch"
    return line + (f", {steps.total:,} in all" if steps.total is not None else "")
