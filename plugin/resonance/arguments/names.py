# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names in a recipe: of keys, and those that would be found wrong only later, of stage, template, model, DeepSpeed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from .data import PAIR_STAGES, RATIO_STAGES
from .places import DATASET_INFO, names, pairs_in_kto

CHOSEN = ("stage", "finetuning_type")  # LlamaFactory trains nothing under any other name
COUNTS = ("per_device_train_batch_size", "gradient_accumulation_steps")
MODELS = ("model_name_or_path", "ref_model")
ADAPTERS = ("adapter_name_or_path", "ref_model_adapters")
# Keys of Transformers 4 that Transformers 5 has under other names.
_NOW = {"group_by_length": "train_sampling_strategy: group_by_length"}
_VARIABLES = {"use_ray": "USE_RAY=1"}


def known_keys(parser: ModuleType) -> frozenset[str]:
    """Keys of the argument classes that LlamaFactory's parser fills; empty if it keeps no list of them.

    A version that has moved the list judges unknown keys alone.
    """
    classes = getattr(parser, "_TRAIN_ARGS", ())
    return frozenset(f.name for cls in classes if is_dataclass(cls) for f in fields(cls) if f.init)


def unknown_keys(given: Mapping[str, Any], known: frozenset[str]) -> list[str]:
    """Keys that no argument class has, with the nearest that are there."""
    messages = []
    for key in given if known else ():
        if key not in known:
            near = get_close_matches(str(key), known, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "see `llamafactory-cli train -h` for all keys"
            if _NOW.get(key, "").partition(":")[0] in known:
                hint = f"it is `{_NOW[key]}` in this Transformers"
            elif key in _VARIABLES:
                hint = f"LlamaFactory reads the environment variable instead: {_VARIABLES[key]}"
            messages.append(f"{key}: no such key (not used by the HfArgumentParser); {hint}")
    return messages


def choice_problems(given: Mapping[str, Any], parser: ModuleType) -> list[str]:
    """Values of `stage` and `finetuning_type` that LlamaFactory does not have, whatever else a recipe holds."""
    found = []
    for cls in getattr(parser, "_TRAIN_ARGS", ()):
        for f in fields(cls) if is_dataclass(cls) else ():
            allowed = get_args(f.type)
            if f.name in CHOSEN and f.name in given and allowed and given[f.name] not in allowed:
                hint = _loss_as_stage(given[f.name]) if f.name == "stage" else ""
                found.append(
                    f"{f.name}: {given[f.name]!r} is not one of {nearest_first(given[f.name], allowed)}{hint}"
                )
    return found


def _loss_as_stage(stage: Any) -> str:
    from ..losses import LOSSES

    return f"; for that loss write `stage: dpo` and `pref_loss: {stage}`" if stage in LOSSES else ""


def stage_problems(given: Mapping[str, Any]) -> list[str]:
    """Data sets that LlamaFactory refuses in the stage of its own recipe: pairs or answers. Unknown ones pass."""
    folder, stage = given.get("dataset_dir", "data"), given.get("stage", "sft")
    if stage not in RATIO_STAGES or os.path.isdir(str(given.get("tokenized_path") or "")):
        return []  # LlamaFactory then reads nothing else
    try:
        info = (
            json.loads(Path(folder, DATASET_INFO).read_text(encoding="utf-8")) if isinstance(folder, str) else folder
        )
    except (OSError, ValueError):
        return []
    found = []
    for key in ("dataset", "eval_dataset"):
        for name in names(given.get(key)):
            entry = info.get(name) if isinstance(info, Mapping) else None
            if isinstance(entry, Mapping) and (entry.get("ranking") is True) != (stage in PAIR_STAGES):
                if stage == "kto":
                    found.append(f"{key}: {pairs_in_kto(name, Path(str(folder), DATASET_INFO))}")
                    continue
                has, cure = (
                    ("pairs", "use stage: dpo or rm")
                    if stage not in PAIR_STAGES
                    else ("answers", 'pairs have "ranking": true')
                )
                found.append(f"{key}: {name!r} has {has}, which stage: {stage} does not learn from; {cure}")
    return found


def name_problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names in a recipe that runs on our rows or our trainer."""
    found = template_problems(given) + deepspeed_problems(given.get("deepspeed"))
    for key in COUNTS:
        value = given.get(key, 1)
        if type(value) is not int or value < 1:
            found.append(f"{key}: {value!r} is not allowed, it must be a whole number from 1")
    for keys, wanted in ((MODELS, "config.json"), (ADAPTERS, "adapter_config.json")):
        for key in keys:
            for name in filter(None, names(given.get(key))):
                inside = wanted if not given.get("adapter_folder") or keys is MODELS else ""
                found += [f"{key}: {problem}" for problem in folder_problems(name, inside)]
    for key in ("ref_model_adapters", "ref_model_quantization_bit"):
        if given.get(key) and not given.get("ref_model"):
            model = given.get("model_name_or_path", "the base model")
            found.append(f"{key}: has no effect without ref_model; add `ref_model: {model}`, which it belongs to")
    return found


def template_problems(given: Mapping[str, Any]) -> list[str]:
    """An unknown template, with the nearest."""
    if not given.get("template"):
        return []
    from ..rows.templates import template_names

    name, known = str(given["template"]), template_names()
    if name in known:
        return []
    spelled = {_spelled(each): each for each in known}
    near = [spelled[each] for each in get_close_matches(_spelled(name), spelled, n=3, cutoff=0.0)]
    return [f"template: LlamaFactory has no {name!r}; nearest: {', '.join(near)}"]


def _spelled(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(".", "")


def folder_problems(name: str, wanted: str) -> list[str]:
    """What is wrong with a model's name that can only be a folder here; nothing about names of a hub.

    Args:
        name: of a folder, or of a hub.
        wanted: the file that the folder has to hold; empty for none.
    """
    path = Path(name)
    if path.is_dir():
        if not wanted or (path / wanted).is_file():
            return []
        return [f"{name!r} has no {wanted}; give the folder that a model was saved into"]
    if not (name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name):
        return []
    start = next((parent for parent in path.parents if parent.is_dir()), Path())
    around = [entry.name for entry in start.iterdir() if entry.is_dir()] if os.access(start, os.R_OK) else []
    near = get_close_matches(path.relative_to(start).parts[0] if path.is_relative_to(start) else name, around, n=3)
    meant = (
        f"did you mean {' or '.join(str(start / each) for each in near)}?"
        if near
        else ("an earlier recipe may have to make it")
    )
    here = "" if path.is_absolute() else f" in {Path.cwd()}"
    return [f"no folder {name!r}{here}; {meant}"]


def deepspeed_problems(given: Any) -> list[str]:
    """A DeepSpeed file that cannot be read, and DeepSpeed itself where it is not installed."""
    if not given:
        return []
    found = []
    if isinstance(given, str):
        try:
            json.loads(Path(given).read_text(encoding="utf-8"))
        except OSError as error:
            copy = f"; `resonance cp {given} {given}` copies it here" if given.startswith("examples/") else ""
            found.append(f"deepspeed: cannot read {given!r} in {Path.cwd()}: {error.strerror or error}{copy}")
        except ValueError as error:
            found.append(f"deepspeed: {given!r} is not JSON: {error}")
    if find_spec("deepspeed") is None:
        found.append("deepspeed: is not installed; `pip install deepspeed==0.18.4`, or remove the key")
    return found


def nearest_first(given: Any, allowed: Iterable[str]) -> str:
    """All names that are allowed, the one that was probably meant in front."""
    near = get_close_matches(str(given), allowed := list(allowed), n=1, cutoff=0.5)
    return ", ".join([*near, *(name for name in allowed if name not in near)])
