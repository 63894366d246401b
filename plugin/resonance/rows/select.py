# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which training rows a run keeps, by their scores and by a fraction. Evaluation sets are left whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from llamafactory.data.loader import _get_merged_dataset as llamafactory_get_merged_dataset
from llamafactory.extras import logging

from .fields import SCORE_FIELDS
from .plan import WIDEST, RowPlan, get_plan, reaches

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
# What makes two rows pairs of the same prompt, as attributes of a dataset_info.json entry.
PROMPT_COLUMNS = ("prompt", "query", "history", "messages", "system", "tools", "images", "videos", "audios")
BATCH = 100  # rows read at once; a row may hold embedded images


def get_merged_dataset(
    dataset_names: list[str] | None,
    model_args: Any,
    data_args: Any,
    training_args: Any,
    stage: str,
    return_dict: bool = False,
) -> Any:
    """Load and merge like LlamaFactory; the sets of `eval_dataset` keep all their rows."""
    if dataset_names is not None and dataset_names is data_args.eval_dataset:
        data_args = copy.copy(data_args)
        data_args.row_plan = get_plan(data_args).for_evaluation()
    return llamafactory_get_merged_dataset(dataset_names, model_args, data_args, training_args, stage, return_dict)


def select_rows(dataset: Any, dataset_attr: Any, plan: RowPlan, training_args: Any) -> Any:
    """Keep the rows of a map-style dataset that the plan asks for, in their order.

    Raises:
        ValueError: if no row is left.
    """
    total = len(dataset)
    kept: Sequence[int] = range(total)
    if plan.score_margin is not None:
        kept = rows_by_margin(dataset, dataset_attr, plan.score_margin)
        told = "the widest pairs of each prompt" if plan.score_margin == WIDEST else f">= {plan.score_margin:g}"
        summary = f"Dataset {dataset_attr}: score_margin keeps {len(kept)} of {total} rows ({told})."
        if not kept:
            raise ValueError(f"{summary} No row is left. Lower `score_margin`.")
        logger.info_rank0(summary)
    if plan.data_ratio < 1:
        seed = training_args.seed if training_args.data_seed is None else training_args.data_seed
        before, kept = len(kept), fraction(kept, plan.data_ratio, seed)
        logger.info_rank0(f"Dataset {dataset_attr}: data_ratio keeps {len(kept)} of {before} rows (seed {seed}).")
    return dataset if len(kept) == total else dataset.select(kept)


def fraction(rows: Sequence[int], ratio: float, seed: int) -> list[int]:
    """Draw round(ratio * len(rows)) of the rows, at least one; a larger ratio of the same seed holds a smaller one."""
    count = max(1, round(len(rows) * ratio))
    drawn = np.random.RandomState(seed).permutation(len(rows))[:count]
    return [rows[i] for i in sorted(drawn)]


def rows_by_margin(dataset: Any, dataset_attr: Any, margin: float) -> list[int]:
    """Return the rows whose scores are at least `margin` apart, or with WIDEST the widest pairs of each prompt.

    Pairs are of one prompt if their prompt, history, system and media are the same. Several that are equally wide all
    stay, as in VL-RLHF.
    """
    if margin != WIDEST:
        return [i for i, gap in enumerate(_gaps(dataset, dataset_attr)) if reaches(gap, margin)]
    prompts, gaps = list(_prompt_keys(dataset, dataset_attr)), list(_gaps(dataset, dataset_attr))
    widest: dict[bytes, float] = {}
    for prompt, gap in zip(prompts, gaps, strict=True):
        widest[prompt] = max(gap, widest.get(prompt, -math.inf))
    return [i for i, (prompt, gap) in enumerate(zip(prompts, gaps, strict=True)) if reaches(gap, widest[prompt])]


def _gaps(dataset: Any, dataset_attr: Any) -> Iterator[float]:
    chosen, rejected = (getattr(dataset_attr, key) for key in SCORE_FIELDS)
    for batch in _batches(dataset, [chosen, rejected]):
        for better, worse in zip(batch[chosen], batch[rejected], strict=True):
            yield float(better) - float(worse)


def _prompt_keys(dataset: Any, dataset_attr: Any) -> Iterator[bytes]:
    named = [str(getattr(dataset_attr, key, None)) for key in PROMPT_COLUMNS]
    columns = [name for name in named if name in dataset.column_names]
    if not columns:  # pairs without prompts: all of one
        yield from [b""] * len(dataset)
        return
    for batch in _batches(dataset, columns):
        for row in zip(*(batch[name] for name in columns), strict=True):
            yield blake2b(repr(row).encode(), digest_size=16).digest()


def _batches(dataset: Any, columns: list[str]) -> Iterator[dict[str, list[Any]]]:
    for table in dataset.select_columns(list(dict.fromkeys(columns))).with_format("arrow").iter(batch_size=BATCH):
        yield table.to_pydict()


@dataclass(frozen=True)
class MarginFilter:
    """Whether one streamed row has scores at least `margin` apart. ``columns``: raw (score_chosen, score_rejected)."""

    columns: tuple[str, str]
    margin: float

    def __call__(self, example: dict[str, Any]) -> bool:
        """Return whether the row stays."""
        chosen, rejected = (float(example[name]) for name in self.columns)
        return reaches(chosen - rejected, self.margin)


def select_from_stream(dataset: Any, dataset_attr: Any, plan: RowPlan, training_args: Any = None) -> Any:
    """Keep the rows of a stream whose scores are far enough apart.

    Raises:
        ValueError: if the plan needs to see all rows at once.
    """
    if plan.data_ratio < 1 or plan.score_margin == WIDEST:
        raise ValueError(
            f"Dataset {dataset_attr}: `data_ratio` and `score_margin: -1` need all rows at once; turn `streaming` off."
        )
    if plan.score_margin is None:
        return dataset
    chosen, rejected = (getattr(dataset_attr, key) for key in SCORE_FIELDS)
    return dataset.filter(MarginFilter((chosen, rejected), plan.score_margin))
