# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A whole recipe of `stage: ppo`, and what LlamaFactory's parser takes from it and from one of `stage: rm`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..upstream import FinetuningArguments, TrainingArguments
from . import chat, feedback, policy, policy_checks, policy_settings, reward_model
from .places import dataset_problems, output_problems
from .resume import resume_point

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def stage_problems(values: Mapping[str, Any]) -> list[str]:
    """A variant of PPO in the place of its stage, or keys of another stage or command than the recipe's."""
    keys = [f"{key}: has a meaning in stage: {policy.STAGE} only" for key in policy.idle_keys(values)]
    keys += chat.problems(values) + reward_model.misplaced(values) + feedback.misplaced(values)
    return variant_problems(values.get("stage")) or keys


def variant_problems(stage: Any) -> list[str]:
    """A variant of PPO in the place of its stage, which LlamaFactory lets through until its tuner."""
    from ..policy import PRESETS

    variant = str(stage).lower().replace("-", "_").replace("++", "_plus_plus")
    if variant not in PRESETS or stage == policy.STAGE:
        return []
    return [f"stage: {stage!r} is a variant of PPO; write two lines, `stage: ppo` and `ppo_variant: {variant}`"]


def problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Problems of a recipe that is trained on completions of its own.

    Args:
        values: of all keys that are known.
        given: as written.
    """
    found = policy_checks.problems(values, given)
    found += dataset_problems(values) + output_problems(values.get("output_dir"))
    if values.get("use_kt"):
        found.append("use_kt: stage: ppo runs on Resonance's trainer, not on that back-end")
    if values.get("streaming"):
        found.append("streaming: stage: ppo draws prompts in an order of its own; set `streaming: false`")
    return found


def restore_stage(
    keys: Mapping[str, Any], training_args: TrainingArguments, finetuning_args: Any, generating_args: Any
) -> None:
    """Give a parsed recipe of ours its stage back, and what the stage means.

    Args:
        keys: of the recipe as it is written.
        training_args, finetuning_args, generating_args: as LlamaFactory has parsed them.
    """
    if not vars(finetuning_args).pop("trains_policy", False):
        return
    finetuning_args.stage = policy.STAGE
    values = {**vars(training_args), **vars(finetuning_args), **vars(generating_args)}
    for name, value in policy_settings.sampling(vars(generating_args), keys).items():
        setattr(generating_args, name, value)
    try:
        finetuning_args.policy_settings = policy_settings.settings(values, keys)
    except ValueError:
        return  # flags that are wrong are reported by `check_parsed`
    finetuning_args.use_ref_model = finetuning_args.policy_settings.needs_reference
    if "metric_for_best_model" not in keys and training_args.metric_for_best_model in (None, "loss"):
        training_args.metric_for_best_model, training_args.greater_is_better = "eval_reward", True


def restore_resume(
    keys: Mapping[str, Any], training_args: TrainingArguments, finetuning_args: FinetuningArguments
) -> None:
    """Give a reward model the checkpoint back that its recipe names; LlamaFactory has dropped it.

    Args:
        keys: of the recipe as it is written.
        training_args, finetuning_args: as LlamaFactory has parsed them.

    Raises:
        ValueError: it is no complete checkpoint.
    """
    asked = keys.get("resume_from_checkpoint")
    dropped = training_args.resume_from_checkpoint is None
    if not asked or not dropped or finetuning_args.stage != "rm" or not training_args.do_train:
        return
    asked = True if str(asked).lower() == "true" else asked
    training_args.resume_from_checkpoint, _ = resume_point(asked, asked, training_args.output_dir)
    if training_args.should_log:
        logger.warning(
            "Reward models resume with Resonance, whatever was said above: resuming from "
            f"{training_args.resume_from_checkpoint}."
        )
