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

from ..upstream import DataArguments, TrainingArguments
from .fields import CARRIED, Column
from .plan import RowPlan, get_plan
from .select import sampling_seed

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
SETTINGS_FILE = "resonance_rows.json"
PAIRS = {"kind": "pairs"}


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
    saved = folder is not None and has_tokenized_data(folder)
    asked = settings(model_args, data_args, training_args, plan)
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
    del asked["needs_scores"]  # the trainer sees by the columns whether there are any
    if plan.kind == "pairs":
        del asked["kind"]  # as in sets that were saved before there were others
    limits = {name: getattr(model_args, name, None) for name in ("image_max_pixels", "image_min_pixels")}
    texts = {name: getattr(data_args, name) for name in ("template", "cutoff_len")}
    return {**texts, **limits, **asked, "seed": sampling_seed(training_args) if plan.data_ratio < 1 else None}


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
    differ = [f"{key}: {made.get(key)!r}, now {value!r}" for key, value in asked.items() if made.get(key) != value]
    if differ:
        listed = "".join(f"\n  - {line}" for line in differ)
        raise ValueError(
            f"tokenized_path: the set in {folder} was made with other settings:{listed}\n"
            "Delete it to tokenize again, give another path, or set the keys as they were."
        )


def _carrying(dataset: Any, carried: tuple[Column, ...]) -> Any:
    if isinstance(dataset, dict):
        return {name: _carrying(part, carried) for name, part in dataset.items()}
    present = getattr(dataset, "column_names", None) or []
    names = [column.name for column in CARRIED if column.name in present and column not in carried]
    return dataset.remove_columns(names) if names else dataset
