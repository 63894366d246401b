# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`tokenized_path`. A set tokenized under other settings is refused, because it holds other rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llamafactory.data import get_dataset as llamafactory_get_dataset
from llamafactory.extras import logging
from llamafactory.extras.misc import has_tokenized_data

from ..upstream import DataArguments, TrainingArguments
from .fields import CARRIED, Column
from .plan import RowPlan, get_plan
from .select import sampling_seed
from .sources import source_fingerprints

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
SETTINGS_FILE = "resonance_rows.json"
PAIRS = {"kind": "pairs"}
_SOURCES = ("dataset", "eval_dataset")


def get_dataset(
    template: Any,
    model_args: Any,
    data_args: DataArguments,
    training_args: TrainingArguments,
    stage: str,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Load and tokenize like LlamaFactory; what it reads from or saves to `tokenized_path` has its settings beside it.

    Rows carry only what the run needs: a saved set may have scores that its loss does not read.

    Raises:
        ValueError: if the set in `tokenized_path` was made with other settings; names each.
    """
    plan, folder = get_plan(data_args), data_args.tokenized_path
    if folder is not None:
        with training_args.main_process_first(desc="look at tokenized_path"):
            if training_args.should_save and is_cut_off(Path(folder)):
                logger.warning_rank0(
                    f"tokenized_path: {folder} was cut off while it was being saved; it is made again."
                )
                shutil.rmtree(folder)
    saved = folder is not None and has_tokenized_data(folder)
    asked = settings(model_args, data_args, training_args, plan) | {"tokenizer": _vocabulary(kwargs.get("tokenizer"))}
    if folder and saved:
        require_settings(Path(folder), asked)
    module = llamafactory_get_dataset(template, model_args, data_args, training_args, stage, *args, **kwargs)
    if folder is not None and not saved and training_args.should_save:
        Path(folder, SETTINGS_FILE).write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
    return {name: _carrying(dataset, plan.carried) for name, dataset in module.items()}


def settings(
    model_args: Any, data_args: DataArguments, training_args: TrainingArguments, plan: RowPlan
) -> dict[str, Any]:
    """Return what decides which tokens and rows a set holds, by recipe key where there is one."""
    asked = asdict(plan)
    for name in ("needs_scores", "needs_weights", "needs_margins", "score_order", "needs_images"):
        del asked[name]  # the trainer sees by the columns whether there are any
    if plan.kind == "pairs":
        del asked["kind"]  # as in sets that were saved before there were others
    limits = {name: getattr(model_args, name, None) for name in ("image_max_pixels", "image_min_pixels")}
    texts = {name: getattr(data_args, name) for name in ("template", "cutoff_len")}
    texts |= {name: getattr(data_args, name, None) for name in ("max_samples", "val_size")}
    if plan.kind == "answers":  # what is learned of them
        texts |= {name: getattr(data_args, name) for name in ("train_on_prompt", "mask_history")}
    sources = {key: source_fingerprints(getattr(data_args, key), data_args.dataset_dir) for key in _SOURCES}
    seed = sampling_seed(training_args) if plan.data_ratio < 1 else None
    return {**texts, **limits, **asked, **sources, "seed": seed}


def _vocabulary(tokenizer: Any) -> str | None:
    """Of a tokenizer, whose token ids the set holds."""
    if tokenizer is None:
        return None
    return blake2b(json.dumps(sorted(tokenizer.get_vocab().items())).encode(), digest_size=6).hexdigest()


def is_cut_off(folder: Path) -> bool:
    """Whether a process died while it saved a set there: a part that the folder's list names is not whole."""
    index = folder / "dataset_dict.json"
    if not index.is_file():
        return False
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))["splits"]
    except (ValueError, KeyError, TypeError):
        return True
    return not all((folder / part / name).is_file() for part in parts for name in ("state.json", "dataset_info.json"))


def require_settings(folder: Path, asked: dict[str, Any]) -> None:
    """Check that the set in a folder was made with these settings; warn if nobody knows with which.

    Raises:
        ValueError: naming each setting that differs.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        logger.warning_rank0(
            f"tokenized_path: {folder} does not say how it was made: its lengths were not checked, and cutoff_len, "
            "overlong and the other keys about rows have no effect on it. Delete it to tokenize again."
        )
        return
    made, asked = PAIRS | json.loads(path.read_text(encoding="utf-8")), PAIRS | asked
    others = {key: value for key, value in asked.items() if key not in _SOURCES}
    differ = [f"{key}: {made.get(key)!r}, now {value!r}" for key, value in others.items() if made.get(key) != value]
    differ += [line for key in _SOURCES if key in made for line in _other_sources(key, made[key], asked[key])]
    if differ:
        listed = "".join(f"\n  - {line}" for line in differ)
        raise ValueError(
            f"tokenized_path: the set in {folder} was made with other settings:{listed}\n"
            "Delete it to tokenize again, give another path, or set the keys as they were."
        )


def _other_sources(key: str, made: Mapping[str, str], now: Mapping[str, str | None]) -> list[str]:
    """Data sets that a set was not made of, or whose rows have changed; those that are gone are not asked for."""
    if now and set(now) != set(made):
        return [f"{key}: {', '.join(made) or 'none'}, now {', '.join(now)}"]
    known = {name: content for name, content in now.items() if content is not None}
    changed = [name for name, content in known.items() if made[name] != content]
    return [f"{key}: the rows of {name} or its entry have changed" for name in changed]


def _carrying(dataset: Any, carried: tuple[Column, ...]) -> Any:
    if isinstance(dataset, dict):
        return {name: _carrying(part, carried) for name, part in dataset.items()}
    present = getattr(dataset, "column_names", None) or []
    names = [column.name for column in CARRIED if column.name in present and column not in carried]
    return dataset.remove_columns(names) if names else dataset
