# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`tokenized_path`. A set tokenized under other settings is refused, because it holds other rows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llamafactory.data import get_dataset as llamafactory_get_dataset
from llamafactory.extras import logging
from llamafactory.extras.misc import has_tokenized_data

from .fields import SCORE_FIELDS
from .plan import get_plan

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
SETTINGS_FILE = "resonance_rows.json"


def get_dataset(
    template: Any, model_args: Any, data_args: Any, training_args: Any, stage: str, *args: Any, **kwargs: Any
) -> Any:
    """Load and tokenize like LlamaFactory; what it reads from or saves to `tokenized_path` has its settings beside it.

    Rows carry scores only if the run's loss reads them.

    Raises:
        ValueError: if the set in `tokenized_path` was made with other settings; names each.
    """
    saved = data_args.tokenized_path is not None and has_tokenized_data(data_args.tokenized_path)
    asked = settings(model_args, data_args, training_args)
    if saved:
        compare(Path(data_args.tokenized_path), asked)
    module = llamafactory_get_dataset(template, model_args, data_args, training_args, stage, *args, **kwargs)
    if data_args.tokenized_path is not None and not saved and training_args.should_save:
        path = Path(data_args.tokenized_path, SETTINGS_FILE)
        path.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
    if not get_plan(data_args).needs_scores:
        for name, dataset in module.items():
            module[name] = _without_scores(dataset)
    return module


def settings(model_args: Any, data_args: Any, training_args: Any) -> dict[str, Any]:
    """What decides which tokens and rows a set holds, by recipe key where there is one."""
    plan = asdict(get_plan(data_args))
    plan.pop("needs_scores")  # the trainer sees by the columns
    plan.pop("kind")  # only pairs are saved by us
    sampled = plan["data_ratio"] < 1
    seed = training_args.seed if training_args.data_seed is None else training_args.data_seed
    limits = {name: getattr(model_args, name, None) for name in ("image_max_pixels", "image_min_pixels")}
    texts = {name: getattr(data_args, name) for name in ("template", "cutoff_len")}
    return {**texts, **limits, **plan, "seed": seed if sampled else None}


def compare(folder: Path, asked: dict[str, Any]) -> None:
    """Raise ValueError if the set in a folder was made with other settings; warn if nobody knows with which."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        logger.warning_rank0(
            f"tokenized_path: {folder} does not say how it was made: its lengths were not checked, and cutoff_len, "
            "overlong and the other keys about rows have no effect on it. Delete it to tokenize again."
        )
        return
    made = json.loads(path.read_text(encoding="utf-8"))
    differ = [f"{key}: {made.get(key)!r}, now {value!r}" for key, value in asked.items() if made.get(key) != value]
    if differ:
        listed = "".join(f"\n  - {line}" for line in differ)
        raise ValueError(
            f"tokenized_path: the set in {folder} was made with other settings:{listed}\n"
            "Delete it to tokenize again, give another path, or set the keys as they were."
        )


def _without_scores(dataset: Any) -> Any:
    if isinstance(dataset, dict):
        return {name: _without_scores(part) for name, part in dataset.items()}
    names = [name for name in SCORE_FIELDS if name in (getattr(dataset, "column_names", None) or [])]
    return dataset.remove_columns(names) if names else dataset
