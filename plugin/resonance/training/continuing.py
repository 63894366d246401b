# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""May a run go on from its checkpoint: was it made by this recipe, and is all there that the run continues?

Every rank looks at the same files, so all of them stop or none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamafactory.extras import logging

from ..arguments.resume import RECIPE_FILE, checkpoints, is_complete, run_file
from .context import RunArguments
from .record import run_record

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

_ALLOW = "`allow_changed_recipe: true` goes on all the same"
# What a checkpoint consists of: the part, and names of files one of which has it. DeepSpeed keeps all in a folder.
_DEEPSPEED = "global_step*"
_ADAPTER = {"adapter_model.safetensors": ("adapter_model*", _DEEPSPEED)}
_MODEL = {"model.safetensors": ("model*.safetensors*", "pytorch_model*", _DEEPSPEED)}
_STATE = {
    "optimizer.pt": ("optimizer*", _DEEPSPEED),
    "scheduler.pt": ("scheduler.pt", _DEEPSPEED),
    "rng_state.pth": ("rng_state*",),
}


def check_continuation(*four: Any, ours: bool) -> None:
    """Stop a run that would go on from something else than what it left.

    Args:
        four: model, data, training and finetuning arguments; with the checkpoint that it is to go on from, if any.
        ours: whether we run it; else only a checkpoint that we made is looked at.

    Raises:
        ValueError: naming every difference, and the parts that the checkpoint lacks.
    """
    args = RunArguments(*four)
    training = args.training
    if not getattr(training, "do_train", False):
        return
    point = training.resume_from_checkpoint
    if point is True:
        point = next((str(path) for path in checkpoints(training.output_dir) if is_complete(path)), None)
    if not point:
        if ours:
            _refuse_beside_checkpoints(training)
        return
    problems = _problems(str(point), args, ours)
    if not problems:
        return
    listed = "".join(f"\n  - {problem}" for problem in problems)
    if getattr(args.finetuning, "allow_changed_recipe", False):
        logger.warning_rank0(f"Going on from {point}, as `allow_changed_recipe: true` permits, although:{listed}")
        return
    raise ValueError(
        f"This run cannot go on from {point}:{listed}\n"
        f"Set the recipe as it was ({RECIPE_FILE} beside the checkpoint has it), or start anew in another "
        f"`output_dir`; {_ALLOW}."
    )


def _problems(point: str, args: RunArguments, ours: bool) -> list[str]:
    path = run_file(point)
    if path is None:
        if not ours:
            return []
        found = ["no run of Resonance's has made it, or an older version: its recipe is not known"]
        return found + _lacking(point, args)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        made, versions = dict(record["settings"]), dict(record["versions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{path} cannot be read ({error})"]
    now = run_record(args)
    others = [f"{k} {versions[k]}, now {v}" for k, v in now["versions"].items() if versions.get(k, v) != v]
    if others:
        logger.warning_rank0(f"{point} was made with other versions: {'; '.join(others)}.")
    return differences(made, now["settings"]) + _lacking(point, args)


def differences(made: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that are not what they were; those that one of the two does not know are left out."""
    found = []
    for key in made.keys() & now.keys():
        before, after = made[key], now[key]
        if _comparable(before, after) == _comparable(after, before):
            continue
        if key == "dataset" and isinstance(before, dict) and isinstance(after, dict):
            changed = [name for name in before if after.get(name, before[name]) != before[name]]
            found += [f"dataset: {name}: its rows or its entry have changed" for name in changed]
            if list(before) != list(after):
                found.append(f"dataset: {', '.join(before)}, now {', '.join(after)}")
        else:
            found.append(f"{key}: {before!r}, now {after!r}")
    return sorted(found)


def _comparable(value: Any, other: Any) -> Any:
    """A model by its content where both are known, else by its name."""
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        return [_comparable(a, b) for a, b in zip(value, other, strict=True)]
    if isinstance(value, dict) and isinstance(other, dict) and "content" in value and "content" in other:
        return value["content"] if value["content"] and other["content"] else value["name"]
    return value


def _lacking(point: str, args: RunArguments) -> list[str]:
    """Parts of a run that are not in its checkpoint."""
    parts = (_ADAPTER if args.finetuning.finetuning_type in ("lora", "oft") else _MODEL) | _STATE
    missing = lacking(Path(point), parts)
    if not missing:
        return []
    whole = [path for path in checkpoints(str(Path(point).parent)) if is_complete(path) and not lacking(path, parts)]
    nearest = f"`resume_from_checkpoint: {whole[0]}` has all" if whole else "no checkpoint beside it has all"
    return [
        f"it has no {', '.join(missing)}, as under `save_only_model: true`: learning rate and optimizer would begin "
        f"anew; {nearest}"
    ]


def lacking(checkpoint: Path, parts: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names of the parts of which no file is there."""
    return [name for name, patterns in parts.items() if not any(any(checkpoint.glob(p)) for p in patterns)]


def _refuse_beside_checkpoints(training: Any) -> None:
    """A run that starts anew beside checkpoints of another would leave those for a later run to go on from."""
    found = checkpoints(training.output_dir)
    if found and getattr(training, "overwrite_output_dir", False) and any(map(is_complete, found)):
        names = ", ".join(path.name for path in found[:3]) + ", ..." * (len(found) > 3)
        raise ValueError(
            f"overwrite_output_dir: {training.output_dir} has {len(found)} checkpoints of an earlier run ({names}). "
            "They would stay beside the new ones, and a later run would go on from them. Remove the key to go on "
            "from the newest, delete them to start anew, or take another `output_dir`."
        )
