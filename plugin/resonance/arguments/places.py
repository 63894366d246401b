# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where a recipe reads and writes: data set names and columns, and the output folder.

Reads dataset_info.json; touches no data file and creates nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..rows.fields import SCORE_FIELDS

DATASET_INFO = "dataset_info.json"
_WITHOUT_PAIRS = {"ppo": "stage: ppo takes prompts", "sft": "stage: sft takes answers"}


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
        except OSError as exc:
            here = "" if path.is_absolute() else f" in {Path.cwd()}"
            return [f"dataset_dir: cannot read {path}{here}: {exc.strerror or exc}{_nearest_folder(Path(folder))}"]
        except ValueError as exc:  # no JSON, or not UTF-8
            return [f"dataset_dir: cannot read {path}: {exc}"]
    else:
        path, info = Path("dataset_dir"), folder
    if not isinstance(info, dict):
        return [f"dataset_dir: {path} is no JSON object with an entry for each set"]

    found = []
    for key in ("dataset", "eval_dataset"):
        for name in names(values.get(key)):
            if name not in info:
                near = get_close_matches(name, info, n=3, cutoff=0.4)
                rest = sorted(set(info) - set(near))[:10]
                found.append(
                    f"{key}: {name!r} is not in {path}; nearest: {', '.join([*near, *rest]) or 'none, it is empty'}"
                )
                continue
            if wrong := _entry_problem(info[name]):
                found.append(f"{key}: {name!r} in {path}: {wrong}")
                continue
            if takes := _WITHOUT_PAIRS.get(values.get("stage", "sft")):
                if info[name].get("ranking"):
                    found.append(f"{key}: {name!r} in {path} has pairs; {takes}, without `ranking`")
                continue
            if values.get("stage") == "kto":
                if info[name].get("ranking"):
                    found.append(f"{key}: {pairs_in_kto(name, path)}")
                    continue
            elif not info[name].get("ranking"):
                found.append(f'{key}: {name!r} in {path} has no pairs; a preference set has "ranking": true')
                continue
            found += [f"{key}: {problem}" for problem in _column_problems(name, info[name], path, _asked(values, key))]
    return found


def pairs_in_kto(name: str, path: Path) -> str:
    """What is wrong with a set of pairs in stage: kto, and the command that makes answers of it.

    Args:
        name: of the set.
        path: of its dataset_info.json.
    """
    out = path.with_name(f"{name}_kto.json")
    folder = "" if path.parent == Path("data") else f" --dataset-dir {shlex.quote(str(path.parent))}"
    command = f"resonance data unpair {shlex.quote(name)}{folder} -o {shlex.quote(str(out))}"
    return f"{name!r} has pairs, and stage: kto takes one answer a row; `{command}` makes the set {name}_kto of them"


def _entry_problem(entry: Any) -> str | None:
    """What is wrong with the shape of an entry, at which LlamaFactory's parser fails."""
    if not isinstance(entry, dict):
        return f"is {entry!r:.60}, but an object with a file_name is needed"
    for group in ("columns", "tags"):
        if not isinstance(entry.get(group, {}), dict):
            return f"its {group} are {entry[group]!r:.60}, but an object is needed"
    hubs = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
    if not any(hub in entry for hub in hubs) and not isinstance(entry.get("file_name"), str):
        return f"its file_name is {entry.get('file_name')!r:.60}, but the name of a file or folder is needed"
    return None


def _nearest_folder(folder: Path) -> str:
    """A hint at the folder beside this one, or in the current one, that has a dataset_info.json."""
    places = [*folder.parent.glob(f"*/{DATASET_INFO}"), *Path().glob(f"*/{DATASET_INFO}")]
    near = get_close_matches(folder.name, {place.parent.name: place for place in places}, n=1, cutoff=0.3)
    found = [str(place.parent) for place in places if place.parent.name in near] or [str(p.parent) for p in places]
    return f"; did you mean {found[0]}?" if found else ""


def names(given: Any) -> list[str]:
    """Names that a recipe lists, as a list or between commas."""
    if isinstance(given, str):
        return [name.strip() for name in given.split(",")]
    return [str(name) for name in given or []]


Why = tuple[str, str, str]  # what asks for a column, for what, how to do without


def _asked(values: Mapping[str, Any], key: str) -> dict[str, Why]:
    """Columns that the recipe needs of the sets of a key, and why."""
    asked: dict[str, Why] = {}
    training = key == "dataset"
    if training and values.get("score_margin") is not None:
        asked |= dict.fromkeys(SCORE_FIELDS, ("score_margin", "scores", "leave `score_margin` out"))
    if training and values.get("score_order") is not None:
        asked |= dict.fromkeys(SCORE_FIELDS, ("score_order", "scores", "leave `score_order` out"))
    for column, why in _asked_by_loss(values).items():
        asked.setdefault(column, why)
    if training and values.get("sample_weights"):
        asked["weight"] = ("sample_weights", "weights", "leave `sample_weights` out")
    return asked


def _asked_by_loss(values: Mapping[str, Any]) -> dict[str, Why]:
    """Columns that the loss of the recipe reads; none of one that is not known, which is reported elsewhere."""
    from ..losses import get_loss

    if values.get("stage") == "kto":
        return {"kto_tag": ("stage: kto", "tags", "that set is for another stage")}
    if values.get("stage") == "rm":
        asking = next((name for name in ("rm_margin", "rm_weight") if values.get(name) == "score"), None)
        return dict.fromkeys(SCORE_FIELDS, (f"{asking}: score", "scores", f"leave `{asking}` out")) if asking else {}
    try:
        spec = get_loss(values["pref_loss"])
    except (KeyError, ValueError):
        return {}
    loss, other = f"pref_loss: {spec.name}", "take a loss that needs none (`pref_loss: sigmoid`)"
    asked = dict.fromkeys(SCORE_FIELDS, (loss, "scores", other)) if spec.needs_scores else {}
    return asked | ({"margin": (loss, "margins", other)} if spec.needs_margin else {})


def _column_problems(name: str, entry: Mapping[str, Any], path: Path, asked: Mapping[str, Why]) -> list[str]:
    """Columns that an entry does not declare, a message for all of a kind."""
    columns = entry.get("columns") or {}
    missing: dict[Why, list[str]] = {}
    for column, why in asked.items():
        if not columns.get(column):
            missing.setdefault(why, []).append(column)
    return [
        f'{asks} needs {what}, but {name!r} declares no {" and ".join(names)}; add to its "columns" in {path}: '
        + ", ".join(f'"{column}": "{column}"' for column in names)
        + f" (the right side is the name in the data file), or, if its rows have no {what}, {without}"
        for (asks, what, without), names in missing.items()
    ]


def output_problems(given: Any, key: str = "output_dir") -> list[str]:
    """Whether files can be made in the folder of a key, seen now instead of after the training. Makes no folder."""
    if not given:
        return []  # there is a default
    folder = Path(given).absolute()
    nearest = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return []
    except OSError as exc:
        return [f"{key}: cannot write to {str(given)!r}: {exc.strerror or exc}"]


def has_vocabulary_inside(model: Any) -> bool:
    """Whether a model on disk is one of several, each with a configuration of its own, as those that see pictures."""
    try:
        config = json.loads(Path(str(model), "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "vision_config" in config or "text_config" in config


def card_problems(values: Mapping[str, Any]) -> list[str]:
    """Whether Transformers would take a whole model for an adapter when it updates the model card, after the training.

    It goes by the library that the README.md of an earlier run in the folder names.
    """
    folder = values.get("output_dir")
    if not folder or values.get("finetuning_type", "lora") == "lora" or not values.get("do_train"):
        return []
    try:
        card = Path(folder, "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    if "library_name: peft" not in card:
        return []
    return [
        f"output_dir: {folder} holds the adapter of an earlier run, whose README.md would end this one with an error "
        "after the training; take another `output_dir`"
    ]
