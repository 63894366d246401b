# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Batches, steps and what is to happen at a step that never comes; scores against `tau_good`. Arithmetic alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .rows import Look

_FEW = 0.02  # share of the chosen scores on one side of tau_good from which it selects next to nothing


@dataclass(frozen=True)
class Steps:
    """The steps of a run.

    Attributes:
        rows: trained on in an epoch; None where they are not known.
        batch: rows an optimizer step, on all devices.
        epoch: steps of an epoch.
        total: of the run.
    """

    rows: int | None
    batch: int
    epoch: int | None
    total: int | None


def steps_of(given: Mapping[str, Any], looks: Sequence[Look], devices: int) -> Steps:
    """Count the steps of a recipe that has no errors.

    Args:
        given: the recipe.
        looks: at its data sets.
        devices: on all nodes together.
    """
    together, accumulated = (
        given.get("per_device_train_batch_size", 8) * devices,
        given.get("gradient_accumulation_steps", 1),
    )
    batch = together * accumulated
    counts = [look.rows for look in looks if look.key == "dataset"]
    rows = None
    if counts and None not in counts and not _changes_rows(given):
        most = given.get("max_samples") or math.inf
        rows = int(
            sum(min(count, most) * float(given.get("data_ratio", 1.0)) for count in counts if count is not None)
        )
        held = float(given.get("val_size", 0) or 0)
        rows -= int(held if held >= 1 else rows * held)
    whole = math.floor if given.get("dataloader_drop_last") else math.ceil
    epoch = max(math.ceil(whole(rows / together) / accumulated), 1) if rows else None
    limit = int(given.get("max_steps", -1) or -1)
    total = limit if limit > 0 else math.ceil(epoch * float(given.get("num_train_epochs", 3))) if epoch else None
    return Steps(rows, batch, epoch, total)


def _changes_rows(given: Mapping[str, Any]) -> bool:
    """Whether other rows are trained on than those of the files, so that only the run knows how many."""
    packs = given.get("packing", given.get("stage") == "pt") or given.get("neat_packing")
    mixed = given.get("mix_strategy", "concat") != "concat"
    chosen = given.get("score_margin") is not None or bool(given.get("streaming"))
    return chosen or mixed or bool(packs and given.get("stage", "sft") in ("pt", "sft"))


def step_warnings(given: Mapping[str, Any], steps: Steps) -> list[str]:
    """What is to happen at steps that the run does not reach."""
    if steps.total is None or not given.get("do_train") or given.get("stage") == "ppo":
        return []
    found, total = [], steps.total
    counted = f"the run has {total} steps"
    warmup = given.get("warmup_steps", 0) or 0
    if warmup >= 1 and warmup >= total:
        found.append(f"warmup_steps: {warmup}, and {counted}: the learning rate never reaches its value")
    for what, key, then in (
        ("eval_strategy", "eval_steps", "nothing is evaluated before the end"),
        ("save_strategy", "save_steps", "no checkpoint is saved before the end, and a run that is killed starts anew"),
    ):
        every = given.get(key, 500 if what == "save_strategy" else given.get("logging_steps", 500))
        on = str(given.get(what, "steps" if what == "save_strategy" else "no")) == "steps"
        if on and every and every > total and every >= 1:
            found.append(f"{key}: {every}, and {counted}: {then}")
    if steps.rows is not None and steps.rows < steps.batch:
        found.append(
            f"gradient_accumulation_steps: an optimizer step takes {steps.batch} rows, and there are {steps.rows}: an "
            "epoch is one step"
        )
    return found


def score_findings(values: Mapping[str, Any], looks: Sequence[Look]) -> tuple[list[str], list[str]]:
    """Errors and warnings about the scores of a loss that reads them.

    Args:
        values: parameters of the loss that reads scores; empty for another.
        looks: at the data sets of the recipe.
    """
    errors: list[str] = []
    warnings: list[str] = []
    for look in looks if values else ():
        below = sum(chosen < rejected for chosen, rejected in look.scores)
        above = sum(chosen > rejected for chosen, rejected in look.scores)
        if below > above:
            errors.append(
                f"{look.key}: {look.name}: the chosen score is below the rejected one in {below} of the first "
                f"{len(look.scores)} rows: the loss would learn the opposite. Exchange the columns `score_chosen` and "
                "`score_rejected` of its entry"
            )
        elif look.scores and not above:
            warnings.append(f"{look.key}: {look.name}: both scores are equal in its first {len(look.scores)} rows")
        if "tau_good" in values and look.scores and look.key == "dataset":
            warnings += _tau_good(look, float(values["tau_good"]))
    return errors, warnings


def _tau_good(look: Look, tau: float) -> list[str]:
    """A threshold that next to all, or next to none, of the chosen answers reach."""
    chosen = sorted(score for score, _ in look.scores)
    good = sum(score >= tau for score in chosen) / len(chosen)
    if _FEW <= good <= 1 - _FEW:
        return []
    every = "next to every chosen answer is" if good > _FEW else "next to no chosen answer is"
    return [
        f"uni_dpo_tau_good: {tau:g}: {every} good by it ({good:.0%}); the chosen scores of {look.name} are from "
        f"{chosen[0]:g} to {chosen[-1]:g}, half of them from {chosen[len(chosen) // 2]:g}; "
        f"`resonance data score-stats {shlex.quote(look.name)}` counts what a threshold selects"
    ]
