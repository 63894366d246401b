# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which training rows a run keeps, by their scores and by a fraction. Evaluation sets are left whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import datasets
import numpy as np
from llamafactory.data.loader import _get_merged_dataset as llamafactory_get_merged_dataset
from llamafactory.extras import logging

from ..upstream import DataArguments, TrainingArguments
from .fields import MEDIA_COLUMNS
from .plan import WIDEST, RowPlan, get_plan, reaches
from .stream import Dataset, column_batches
from .types import DatasetAttr, Row
from .validate.raw_columns import score_columns

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
# What makes two rows pairs of the same prompt, as attributes of a dataset_info.json entry.
PROMPT_COLUMNS = ("prompt", "query", "history", "messages", "system", "tools", *MEDIA_COLUMNS)
BATCH = 100  # rows read at once; a row may hold embedded images


def get_merged_dataset(
    dataset_names: list[str] | None,
    model_args: Any,
    data_args: DataArguments,
    training_args: TrainingArguments,
    stage: str,
    return_dict: bool = False,
) -> Any:
    """Load and merge like LlamaFactory; the sets of `eval_dataset` keep all their rows."""
    if dataset_names is not None and dataset_names is data_args.eval_dataset:
        # LlamaFactory calls `align_dataset` with these arguments and no word of which sets it aligns.
        evaluation: Any = copy.copy(data_args)
        evaluation.row_plan = get_plan(data_args).for_evaluation()
        data_args = evaluation
    return llamafactory_get_merged_dataset(dataset_names, model_args, data_args, training_args, stage, return_dict)


def select_rows(
    dataset: Dataset, dataset_attr: DatasetAttr, plan: RowPlan, training_args: TrainingArguments
) -> Dataset:
    """Keep the rows that the plan asks for, in their order; of a stream those whose scores are far enough apart.

    Raises:
        ValueError: if no row is left, or the plan needs to see all rows of a stream at once.
    """
    if isinstance(dataset, datasets.IterableDataset):
        return _select_from_stream(dataset, dataset_attr, plan)
    total = len(dataset)
    kept: Sequence[int] = range(total)
    if plan.score_margin is not None:
        kept = rows_by_margin(dataset, dataset_attr, plan.score_margin)
        rule = "the widest pairs of each prompt" if plan.score_margin == WIDEST else f">= {plan.score_margin:g}"
        summary = f"Dataset {dataset_attr}: score_margin keeps {len(kept)} of {total} rows ({rule})."
        if not kept:
            raise ValueError(f"{summary} No row is left. Lower `score_margin`.")
        logger.info_rank0(summary)
    if plan.data_ratio < 1:
        seed = sampling_seed(training_args)
        before, kept = len(kept), fraction(kept, plan.data_ratio, seed)
        logger.info_rank0(f"Dataset {dataset_attr}: data_ratio keeps {len(kept)} of {before} rows (seed {seed}).")
    return dataset if len(kept) == total else dataset.select(kept)


def sampling_seed(training_args: TrainingArguments) -> int:
    """Return the seed that rows are drawn with."""
    return training_args.seed if training_args.data_seed is None else training_args.data_seed


def fraction(rows: Sequence[int], ratio: float, seed: int) -> list[int]:
    """Draw round(ratio * len(rows)) of the rows, at least one; a larger ratio of the same seed holds a smaller one."""
    count = max(1, round(len(rows) * ratio))
    drawn = np.random.RandomState(seed).permutation(len(rows))[:count]
    return [rows[i] for i in sorted(drawn)]


def rows_by_margin(dataset: datasets.Dataset, dataset_attr: DatasetAttr, margin: float) -> list[int]:
    """Return the rows whose scores are at least `margin` apart, or with WIDEST the widest pairs of each prompt.

    Pairs are of one prompt if their prompt, history, system and media are the same. Several that are equally wide all
    stay, as in VL-RLHF.
    """
    chosen, rejected = score_columns(dataset_attr)
    gaps = [
        float(better) - float(worse)
        for batch in column_batches(dataset, (chosen, rejected))
        for better, worse in zip(batch[chosen], batch[rejected], strict=True)
    ]
    if margin != WIDEST:
        return [i for i, gap in enumerate(gaps) if reaches(gap, margin)]
    prompts = list(_prompt_keys(dataset, dataset_attr))
    widest: dict[bytes, float] = {}
    for prompt, gap in zip(prompts, gaps, strict=True):
        widest[prompt] = max(gap, widest.get(prompt, -math.inf))
    return [i for i, (prompt, gap) in enumerate(zip(prompts, gaps, strict=True)) if reaches(gap, widest[prompt])]


def _prompt_keys(dataset: datasets.Dataset, dataset_attr: DatasetAttr) -> Iterator[bytes]:
    named = [str(getattr(dataset_attr, key, None)) for key in PROMPT_COLUMNS]
    columns = [name for name in named if name in dataset.column_names]
    if not columns:  # pairs without prompts: all of one
        yield from [b""] * len(dataset)
        return
    for batch in column_batches(dataset, columns, BATCH):
        for row in zip(*(batch[name] for name in columns), strict=True):
            yield blake2b(repr(row).encode(), digest_size=16).digest()


def _select_from_stream(
    dataset: datasets.IterableDataset, dataset_attr: DatasetAttr, plan: RowPlan
) -> datasets.IterableDataset:
    if plan.data_ratio < 1 or plan.score_margin == WIDEST:
        raise ValueError(
            f"Dataset {dataset_attr}: `data_ratio` and `score_margin: -1` need all rows at once; turn `streaming` off."
        )
    if plan.score_margin is None:
        return dataset
    chosen, rejected = score_columns(dataset_attr)
    arguments = {"chosen": chosen, "rejected": rejected, "margin": plan.score_margin}
    return dataset.filter(_is_wide, fn_kwargs=arguments)


def _is_wide(example: Row, chosen: str, rejected: str, margin: float) -> bool:
    return reaches(float(example[chosen]) - float(example[rejected]), margin)
