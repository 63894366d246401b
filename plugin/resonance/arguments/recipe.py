# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Checks of a whole recipe before anything is loaded: every problem at once, nearest valid name first.

Room: `arguments/`. Reads the recipe and dataset_info.json; touches no data file, no model and none of LlamaFactory's
modules except the parser module it is handed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from . import preference
from .resume import complete_checkpoint

DATASET_INFO = "dataset_info.json"
_ARGUMENT_CLASSES = (
    "ModelArguments",
    "DataArguments",
    "TrainingArguments",
    "FinetuningArguments",
    "GeneratingArguments",
)


def needs_resonance(given: Mapping[str, Any]) -> bool:
    """Whether a recipe asks for anything that only exists with this package."""
    return preference.runs_on_resonance(given) or any(key in given for key in preference.KEYS)


def check(given: Mapping[str, Any], parser: ModuleType) -> None:
    """Raise one ValueError with all problems of a recipe given as a mapping.

    A recipe that is not ours is only checked for unknown keys, which LlamaFactory refuses too, without a suggestion.
    """
    found = [] if os.getenv("USE_MCA") else unknown_keys(given, parser)
    if preference.runs_on_resonance(given):
        found += preference.problems(given)
        found += run_problems(given)
    elif given.get("stage", "sft") != "dpo":
        found += [f"{key}: has a meaning in stage: dpo only" for key in preference.KEYS if key in given]
    if found:
        raise ValueError(preference.report(found))


def check_parsed(data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """The same checks on parsed arguments (command-line flags arrive here unread), and where to resume from."""
    values = vars(finetuning_args)
    if "pref_engine" not in values or not preference.runs_on_resonance(values):
        return
    asked = {"dataset": data_args.dataset, "eval_dataset": data_args.eval_dataset}
    asked |= {name: getattr(data_args, name) for name in ("dataset_dir", "tokenized_path")}
    asked |= {name: getattr(training_args, name) for name in ("do_train", "do_eval", "output_dir")}
    found = run_problems({**values, **asked})
    if found:
        raise ValueError(preference.report(found))
    training_args.resume_from_checkpoint, warning = complete_checkpoint(training_args.resume_from_checkpoint)
    if warning:
        print(f"[resonance] {warning}", file=sys.stderr)


def unknown_keys(given: Mapping[str, Any], parser: ModuleType) -> list[str]:
    classes = [getattr(parser, name) for name in _ARGUMENT_CLASSES]
    known = {f.name for cls in classes if is_dataclass(cls) for f in fields(cls) if f.init}
    messages = []
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "see `llamafactory-cli train -h` for all keys"
            messages.append(f"{key}: no such key (not used by the HfArgumentParser); {hint}")
    return messages


def run_problems(values: Mapping[str, Any]) -> list[str]:
    """Problems of a run on our trainer that are not about the loss: data sets, reference, output, other back-ends."""
    found = dataset_problems(values) + output_problems(values.get("output_dir"))
    for name, given in (("use_kt", values.get("use_kt")), ("USE_MCA=1", os.getenv("USE_MCA") in ("1", "true"))):
        if given:
            found.append(
                f"{name}: pref_loss: {values.get('pref_loss')} runs on Resonance's trainer, not on that back-end"
            )
    try:
        needs_reference = preference.needs_reference(values.get("pref_loss", "sigmoid"))
    except ValueError:
        return found  # an unknown loss is reported by preference.problems
    evaluates_only = values.get("do_eval") and not values.get("do_train")
    if needs_reference and evaluates_only and values.get("ref_model") is None:
        # also with LoRA: LlamaFactory merges adapters that are not trained, so they cannot be switched off
        found.append(
            f"ref_model: evaluating pref_loss: {values.get('pref_loss')} without training needs a reference model, or "
            "the policy would be compared with itself; give its path (pref_loss: simpo needs none)"
        )
    return found


def dataset_problems(values: Mapping[str, Any]) -> list[str]:
    """Unknown data set names, sets without pairs, and sets without score columns for a loss that needs scores."""
    folder = values.get("dataset_dir", "data")
    if values.get("tokenized_path") and os.path.isdir(values["tokenized_path"]):
        return []  # LlamaFactory then reads nothing else
    if isinstance(folder, str):
        if folder == "ONLINE" or folder.startswith("REMOTE:"):
            return []
        path = Path(folder, DATASET_INFO)
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as exc:
            return [f"dataset_dir: cannot read {path}: {exc}"]
    else:
        path, info = Path("dataset_dir"), folder

    found = []
    for key in ("dataset", "eval_dataset"):
        for name in _names(values.get(key)):
            if name not in info:
                near = get_close_matches(name, info, n=3, cutoff=0.4)
                rest = sorted(set(info) - set(near))[:10]
                found.append(
                    f"{key}: {name!r} is not in {path}; nearest: {', '.join([*near, *rest]) or 'none, it is empty'}"
                )
                continue
            if not info[name].get("ranking"):
                found.append(f'{key}: {name!r} in {path} has no pairs; a preference set has "ranking": true')
                continue
            found += [f"{key}: {problem}" for problem in _score_problems(name, info[name], path, values)]
    return found


def _names(given: Any) -> list[str]:
    if isinstance(given, str):
        return [name.strip() for name in given.split(",")]
    return [str(name) for name in given or []]


def _score_problems(name: str, entry: Mapping[str, Any], path: Path, values: Mapping[str, Any]) -> list[str]:
    from ..losses import get_loss

    try:
        spec = get_loss(values["pref_loss"])
    except (KeyError, ValueError):
        return []
    columns = entry.get("columns") or {}
    missing = [column for column in ("score_chosen", "score_rejected") if not columns.get(column)]
    if not (spec.needs_scores and missing):
        return []
    example = ", ".join(f'"{column}": "{column}"' for column in missing)
    return [
        f"pref_loss: {values['pref_loss']} needs scores, but {name!r} declares no {' and '.join(missing)}; "
        f'add to its "columns" in {path}: {example} (the right side is the name in the data file)'
    ]


def output_problems(output_dir: Any) -> list[str]:
    """Whether files can be made in `output_dir`, tried now instead of after the training."""
    if not output_dir:
        return []  # LlamaFactory and Transformers have a default
    try:
        os.makedirs(output_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            return []
    except OSError as exc:
        return [f"output_dir: cannot write to {output_dir!r}: {exc.strerror or exc}"]
