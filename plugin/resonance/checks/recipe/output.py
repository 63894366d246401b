# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the output folder of a recipe holds, and what a run makes of it. Reads names and small files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...arguments.places import card_problems, output_problems
from ...arguments.reader import read_recipe
from ...arguments.resume import RECIPE_FILE, checkpoints, newest_complete

# Keys on which the numbers of every run depend: with another value it does not go on.
_DECIDING = (
    "stage", "finetuning_type", "dataset", "template", "cutoff_len", "seed", "learning_rate", "lr_scheduler_type",
    "bf16", "lora_rank", "lora_alpha", "lora_target", "pref_loss", "pref_beta", "uni_dpo_tau_good", "ppo_variant",
)  # fmt: skip


def output_findings(given: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Errors, warnings and notes about the output folder."""
    folder = given.get("output_dir")
    if not folder:
        return (
            [],
            ["output_dir: is missing; the run goes into `trainer_output`, Transformers' own folder"],
            [],
        )
    errors = output_problems(folder) + card_problems(given)
    if errors or not given.get("do_train") or not Path(str(folder)).is_dir():
        return errors, [], []
    found, newest = checkpoints(str(folder)), newest_complete(str(folder))
    if given.get("overwrite_output_dir"):
        told = f"overwrite_output_dir: {folder} has {len(found)} checkpoints of an earlier run, which would stay"
        return [], [f"{told} beside the new ones; take another `output_dir`"] * bool(found), []
    if newest is None:
        cut = [f"output_dir: {path} was cut off while it was saved; the run starts anew" for path in found[:1]]
        return [], cut, []
    try:
        changed = changed_keys(given, Path(str(folder), RECIPE_FILE))
    except ValueError as error:
        return [], [f"output_dir: the recipe of the run before cannot be read, nor compared: {error}"], []
    if changed:
        cure = "set them as they were, take another `output_dir`, or add `allow_changed_recipe: true`"
        told = f"output_dir: {newest} is of another recipe: {'; '.join(changed)}; {cure}"
        return ([], [told], []) if given.get("allow_changed_recipe") else ([told], [], [])
    if Path(str(folder), "train_results.json").is_file():
        return (
            [],
            [f"output_dir: {folder} is finished; only a run of more epochs or steps goes on from it"],
            [],
        )
    return [], [], [f"output_dir: the run goes on from {newest}"]


def changed_keys(given: Mapping[str, Any], path: Path) -> list[str]:
    """Deciding keys that both the recipe of an earlier run and this one set, to other values.

    What a key that only one of them sets means is known after parsing: the run itself compares those.
    """
    if not path.is_file():
        return []
    before = read_recipe(path)
    return [
        f"{key} {before[key]!r}, now {given[key]!r}"
        for key in _DECIDING
        if key in before and key in given and before[key] != given[key]
    ]
