# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Checks of a whole recipe before anything is loaded: every problem at once, nearest valid name first.

Touches none of LlamaFactory's modules except the parser module it is handed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from . import data, parameters, preference
from .places import dataset_problems, output_problems
from .resume import resume_point

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
_ARGUMENT_CLASSES = (
    "ModelArguments",
    "DataArguments",
    "TrainingArguments",
    "FinetuningArguments",
    "GeneratingArguments",
)
# Keys of Transformers 4 that Transformers 5 has under other names.
_NOW = {"group_by_length": "train_sampling_strategy: group_by_length"}


def needs_resonance(given: Mapping[str, Any]) -> bool:
    """Whether a recipe asks for anything that only exists with this package."""
    return preference.runs_on_resonance(given) or any(key in given for key in (*preference.KEYS, *data.KEYS))


def is_env_enabled(name: str) -> bool:
    """LlamaFactory's rule for its switches in the environment."""
    return os.getenv(name, "0").lower() in ("true", "y", "1")


def check(given: Mapping[str, Any], parser: ModuleType) -> None:
    """Raise one ValueError with all problems of a recipe given as a mapping.

    A recipe that is not ours is only checked for unknown keys, which LlamaFactory refuses too, without a suggestion.
    """
    lenient = is_env_enabled("USE_MCA") or is_env_enabled("ALLOW_EXTRA_ARGS")  # other keys are allowed then
    found = [] if lenient else unknown_keys(given, parser)
    found += data.problems(given)
    if preference.runs_on_resonance(given):
        found += parameters.problems(given)
        found += run_problems(given)
    elif data.uses_rows(given):
        found += dataset_problems(given) + output_problems(given.get("output_dir"))
    if found:
        raise ValueError(preference.report(found))


def check_parsed(given: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """What can only be checked after parsing: recipes given as flags, keys without effect, where to resume from."""
    values = vars(finetuning_args)
    ours = preference.runs_on_resonance(values)
    if not isinstance(given, Mapping):  # a mapping has been through `check`
        flags = {**vars(data_args), **values}
        flags |= {name: getattr(training_args, name) for name in ("do_train", "do_eval", "output_dir")}
        found = data.problems(flags)
        if ours:
            found += run_problems(flags)
        elif data.uses_rows(flags):
            found += dataset_problems(flags) + output_problems(flags["output_dir"])
        if found:
            raise ValueError(preference.report(found))
    if not ours:
        check_idle(values, given if isinstance(given, Mapping) else None)
        return
    if training_args.do_train:
        wanted = given.get("resume_from_checkpoint") if isinstance(given, Mapping) else None
        chosen = training_args.resume_from_checkpoint
        training_args.resume_from_checkpoint, warning = resume_point(wanted, chosen, training_args.output_dir)
        if warning and training_args.should_log:
            logger.warning(warning)


def check_idle(values: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> None:
    """Say which of our keys LlamaFactory's own run will not read; outside the DPO stage they are an error."""
    idle = preference.idle_keys(values, given)
    if idle and values["stage"] != "dpo":
        raise ValueError(preference.report([f"{key}: has a meaning in stage: dpo only" for key in idle]))
    if idle:
        logger.warning(
            "%s: no effect, because LlamaFactory's own trainer runs pref_loss: %s here. Set `pref_engine: resonance` "
            "or another pref_loss.",
            ", ".join(idle),
            values["pref_loss"],
        )


def unknown_keys(given: Mapping[str, Any], parser: ModuleType) -> list[str]:
    """Keys that no argument class has, with the nearest that are there."""
    classes = [getattr(parser, name, None) for name in _ARGUMENT_CLASSES]
    if not all(is_dataclass(cls) for cls in classes):
        return []  # another version of LlamaFactory: its own parser judges
    known = {f.name for cls in classes if is_dataclass(cls) for f in fields(cls) if f.init}
    messages = []
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "see `llamafactory-cli train -h` for all keys"
            if _NOW.get(key, "").partition(":")[0] in known:
                hint = f"it is `{_NOW[key]}` in this Transformers"
            messages.append(f"{key}: no such key (not used by the HfArgumentParser); {hint}")
    return messages


def run_problems(values: Mapping[str, Any]) -> list[str]:
    """Problems of a run on our trainer that are not about the loss: data sets, reference, output, other back-ends."""
    found = dataset_problems(values) + output_problems(values.get("output_dir"))
    for name, given in (("use_kt", values.get("use_kt")), ("USE_MCA", is_env_enabled("USE_MCA"))):
        if given:
            found.append(
                f"{name}: pref_loss: {values.get('pref_loss')} runs on Resonance's trainer, not on that back-end"
            )
    try:
        needs_reference = parameters.needs_reference(values.get("pref_loss", "sigmoid"))
    except ValueError:
        return found  # an unknown loss is reported by parameters.problems
    evaluates_only = values.get("do_eval") and not values.get("do_train")
    if needs_reference and evaluates_only and values.get("ref_model") is None:
        # also with LoRA: LlamaFactory merges adapters that are not trained, so they cannot be switched off
        found.append(
            f"ref_model: evaluating pref_loss: {values.get('pref_loss')} without training needs a reference model, or "
            "the policy would be compared with itself; give its path (pref_loss: simpo needs none)"
        )
    return found
