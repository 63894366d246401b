# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Checks of a whole recipe before anything is loaded: every problem at once, nearest valid name first.

Touches none of LlamaFactory's modules except the parser module it is handed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from ..upstream import DataArguments, FinetuningArguments, TrainingArguments
from . import data, feedback, parameters, policy, preference, rates, reward_model, tracking
from .environment import may_have_other_keys
from .grouping import grouping_problems
from .idle import does_nothing, given_without_effect
from .names import choice_problems, known_keys, name_problems, stage_problems, unknown_keys
from .places import card_problems, dataset_problems, has_vocabulary_inside, output_problems
from .reader import read_words
from .resume import resume_point
from .roads import road_problems, v1_problems
from .speedups import compile_problems

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
# What is checked of the training arguments; which of the two about lengths there is depends on Transformers.
_OF_A_RUN = (
    "do_train", "do_eval", "output_dir", "train_sampling_strategy", "group_by_length", "predict_with_generate",
    "optim", "deepspeed", "learning_rate",
)  # fmt: skip


def needs_resonance(given: Mapping[str, Any]) -> bool:
    """Whether a recipe asks for anything that only exists with this package."""
    ours = preference.runs_on_resonance(given) or policy.is_policy_stage(given)
    mine = (
        *preference.KEYS,
        *data.KEYS,
        *policy.KEYS,
        *reward_model.KEYS,
        *feedback.KEYS,
        *tracking.KEYS,
        *rates.KEYS,
    )
    return ours or any(key in given for key in mine)


def read(args: Sequence[str]) -> dict[str, Any]:
    """Keys and values of the command line behind `train`; a recipe that cannot be read has none.

    Args:
        args: a YAML or JSON file and `key=value`s, or `--key value` flags.
    """
    try:
        return read_words(args)
    except ValueError:
        return {}


def as_mapping(given: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """A recipe as it can be written into a YAML file, from a mapping or from flags."""
    if isinstance(given, Mapping):
        return dict(given)
    flags = read(given).items()  # a flag without a value is followed by nothing, or by the next flag
    return {key: True if not value or value.startswith("--") else _value(value) for key, value in flags}


def _value(flag: str) -> Any:
    """What a flag stands for; `no` and `off` are words there."""
    import yaml

    try:
        found = yaml.safe_load(flag)
    except yaml.YAMLError:
        return flag
    return flag if isinstance(found, bool) and flag.lower() not in ("true", "false") else found


def check(given: Mapping[str, Any], parser: ModuleType) -> None:
    """Raise one ValueError with all problems of a recipe given as a mapping."""
    if found := problems(given, parser):
        raise ValueError(preference.report(found))


def problems(given: Mapping[str, Any], parser: ModuleType) -> list[str]:
    """All problems of a recipe given as a mapping, as messages that start with the key.

    A recipe that is not ours is only checked for unknown keys, which LlamaFactory refuses too, without a suggestion.
    """
    from . import policy_recipe  # imports torch

    known = known_keys(parser)
    found = [] if may_have_other_keys() else unknown_keys(given, known)
    variant = policy_recipe.variant_problems(given.get("stage"))
    found += [line for line in choice_problems(given, parser) if not (variant and line.startswith("stage:"))]
    found += data.problems(given) + road_problems(given, known, given) + policy_recipe.stage_problems(given)
    found += rates.problems(given)
    trains_policy = policy.is_policy_stage(given)
    checked = data.uses_rows(given) or data.uses_answers(given)
    if trains_policy or reward_model.trains_pairs(given) or checked:
        found += name_problems(given)
    return found + (policy_recipe.problems(given, given) if trains_policy else _problems_without_policy(given))


def _problems_without_policy(given: Mapping[str, Any]) -> list[str]:
    """Those of a recipe of another stage than ours alone."""
    found = given_without_effect(given)
    if preference.runs_on_resonance(given):
        found += parameters.problems(given)
    if reward_model.trains_pairs(given) or data.uses_rows(given) or data.uses_answers(given):
        return found + _problems_of_pairs(given)
    return found + stage_problems(given)


def _problems_of_pairs(values: Mapping[str, Any]) -> list[str]:
    """Those of a run with pairs, beside the parameters of its loss; none where LlamaFactory alone runs it."""
    if reward_model.runs_on_resonance(values):
        return reward_model.problems(values)
    if feedback.runs_on_resonance(values):
        return feedback.problems(values) + token_problems(values)
    if preference.runs_on_resonance(values):
        return run_problems(values)
    if data.uses_rows(values) or data.uses_answers(values):
        return dataset_problems(values) + output_problems(values.get("output_dir"))
    return []


def check_flags(keys: Mapping[str, Any]) -> None:
    """Raise ValueError for what the parser of flags refuses without a word about what to write."""
    from . import policy_recipe  # imports torch

    if found := policy_recipe.variant_problems(keys.get("stage")):
        raise ValueError(preference.report(found))


def check_parsed(
    given: Mapping[str, Any] | list[str],
    data_args: DataArguments,
    training_args: TrainingArguments,
    finetuning_args: FinetuningArguments,
    generating_args: Any = None,
) -> None:
    """What can only be checked after parsing: recipes given as flags, keys without effect, where to resume from."""
    from . import policy_checks, policy_recipe  # imports torch

    values = vars(finetuning_args)
    trains_policy = policy.is_policy_stage(values)
    asked = {name: getattr(training_args, name, False) for name in ("do_train", "do_eval")}
    ours = trains_policy or reward_model.trains_pairs({**values, **asked})
    if not isinstance(given, Mapping):  # a mapping has been through `check`
        flags = {**vars(data_args), **values}
        flags |= {name: getattr(training_args, name, None) for name in _OF_A_RUN}
        found = data.problems(flags) + road_problems(flags, values) + policy_recipe.stage_problems(flags)
        found += rates.problems(flags)
        if trains_policy:
            found += policy_recipe.problems(flags | vars(training_args) | vars(generating_args), read(given))
        else:
            found += given_without_effect(as_mapping(given)) + _problems_of_pairs(flags)
        if found:
            raise ValueError(preference.report(found))
    if not ours:
        check_idle(values, given if isinstance(given, Mapping) else None)
        return
    if found := does_nothing({**values, **asked}):
        raise ValueError(preference.report(found))
    if training_args.do_train:
        wanted = given.get("resume_from_checkpoint") if isinstance(given, Mapping) else None
        chosen = training_args.resume_from_checkpoint
        training_args.resume_from_checkpoint, warning = resume_point(wanted, chosen, training_args.output_dir)
        warnings = [warning] if warning else []
        if trains_policy:
            keys = given if isinstance(given, Mapping) else read(given)
            warnings += policy_checks.notices(values, keys)
        for message in warnings if training_args.should_log else ():
            logger.warning(message)


def check_idle(values: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> None:
    """Warn of our keys that LlamaFactory's own run does not read; outside the DPO stage they are an error."""
    idle = preference.idle_keys(values, given)
    if (given or {}).get("pref_loss") and values["stage"] != "dpo":
        logger.warning("pref_loss: no effect in stage: %s, only in stage: dpo.", values["stage"])
    if idle and values["stage"] != "dpo":
        raise ValueError(preference.report([feedback.idle_problem(key, values["stage"]) for key in idle]))
    if idle:
        logger.warning(
            "%s: no effect, because LlamaFactory's own trainer runs pref_loss: %s here. Set `pref_engine: resonance` "
            "or another pref_loss.",
            ", ".join(idle),
            values["pref_loss"],
        )


def refuse_under_v1(given: Mapping[str, Any]) -> None:
    """Raise ValueError for a recipe with keys of ours that LlamaFactory's v1 trainers are about to run."""
    if found := v1_problems(given):
        raise ValueError(preference.report(found))


def as_given(args: dict[str, Any] | list[str] | None) -> dict[str, Any] | list[str]:
    """The keys of a recipe as a mapping, or flags as they were typed; empty if the file cannot be read.

    Args:
        args: of LlamaFactory's `get_train_args`; None stands for the command line.
    """
    if args is not None:
        return args
    words = sys.argv[1:]
    return read(words) if words and words[0].endswith((".yaml", ".yml", ".json")) else words


def token_problems(values: Mapping[str, Any]) -> list[str]:
    """New tokens where LlamaFactory or PEFT fails on them, late."""
    new = [key for key in ("add_tokens", "add_special_tokens", "new_special_tokens_config") if values.get(key)]
    adapters = values.get("finetuning_type", "lora") == "lora"
    cure = "train or export a model that has the tokens first, and give its path"
    if adapters and (new or values.get("resize_vocab")) and has_vocabulary_inside(values.get("model_name_or_path")):
        key = new[0] if new else "resize_vocab"
        return [f"{key}: PEFT cannot save adapters of a vision-language model whose vocabulary was resized; {cure}"]
    if adapters:
        return []
    return [f"{key}: LlamaFactory cannot load the reference model with new tokens; {cure}" for key in new]


def run_problems(values: Mapping[str, Any]) -> list[str]:
    """Problems of a run on our trainer that are not about the loss: data, order, reference, output, back-ends."""
    found = dataset_problems(values) + output_problems(values.get("output_dir")) + grouping_problems(values)
    if values.get("use_kt"):
        found.append(f"use_kt: pref_loss: {values.get('pref_loss')} runs on Resonance's trainer, not on that back-end")
    found += compile_problems(values)
    found += card_problems(values) + token_problems(values)
    try:
        needs_reference = parameters.needs_reference(values.get("pref_loss", "sigmoid"))
    except ValueError:
        return found  # an unknown loss is reported by parameters.problems
    if needs_reference and preference.evaluates_only(values) and values.get("ref_model") is None:
        # also with LoRA: LlamaFactory merges adapters that are not trained, so they cannot be switched off
        found.append(
            f"ref_model: evaluating pref_loss: {values.get('pref_loss')} without training needs a reference model, or "
            "the policy would be compared with itself; give its path (pref_loss: simpo needs none)"
        )
    return found
