# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Raw dataset -> aligned and admitted dataset. The order of the checks of one dataset is written here."""

from __future__ import annotations

from typing import Any

import datasets
from llamafactory.data.converter import align_dataset as llamafactory_align_dataset
from llamafactory.extras import logging

from .convert import get_dataset_converter
from .fields import ROW, SCORE_FIELDS, SOURCE
from .media_types import hint_aligned
from .number import number_rows
from .plan import get_plan
from .select import select_from_stream, select_rows
from .stream import decoded, undecoded
from .validate.dataset import admit_rows, admit_stream
from .validate.findings import Problem, explain
from .validate.raw_columns import ScoreCheck, all_score_problems, require_columns, reversed_scores

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def align_dataset(dataset: Any, dataset_attr: Any, data_args: Any, training_args: Any) -> Any:
    """Align a dataset as LlamaFactory does, keep scores and origins, and admit only rows that can be trained on.

    Training rows that the plan does not ask for are left out first.

    Raises:
        ValueError: if the dataset is empty, its entry does not fit, or rows are unusable; every problem at once for a
            map-style dataset, at the row itself for a stream.
    """
    plan = get_plan(data_args)
    streaming = isinstance(dataset, datasets.IterableDataset)
    if plan.kind != "pairs":  # rows of another stage: LlamaFactory's own affair, but for how many there are
        select = select_from_stream if streaming else select_rows
        selected = select(dataset, dataset_attr, plan, training_args)
        return llamafactory_align_dataset(selected, dataset_attr, data_args, training_args)
    dataset = undecoded(dataset) if streaming else dataset
    names = list(next(iter(dataset), {})) if streaming else dataset.column_names
    if not names or (not streaming and len(dataset) == 0):
        raise ValueError(f"Dataset {dataset_attr} has no rows.")
    if ROW not in names:  # read by something else than load_dataset: a cloud file, another hub
        dataset = number_rows(dataset, [(str(dataset_attr), None)])
    require_columns(dataset_attr, names, plan.reads_scores)

    check = ScoreCheck(tuple(getattr(dataset_attr, key) for key in SCORE_FIELDS)) if plan.reads_scores else None
    if streaming:
        return _align_stream(dataset, dataset_attr, data_args, training_args, check)

    problems = all_score_problems(dataset, check) if check else []
    if check and not problems and (remark := reversed_scores(dataset, check)):
        logger.warning_rank0(f"Dataset {dataset_attr}: {remark}")
    dataset = hint_aligned(dataset, dataset_attr)
    if not problems:
        dataset = select_rows(dataset, dataset_attr, plan, training_args)
    try:
        aligned = llamafactory_align_dataset(dataset, dataset_attr, data_args, training_args)
    except Exception as error:
        problems += failing_rows(dataset, dataset_attr, data_args)
        if not problems:
            raise
        raise ValueError(explain(str(dataset_attr), problems, len(dataset))) from error
    return admit_rows(aligned, dataset_attr, data_args, training_args, problems)


def _align_stream(
    dataset: Any, dataset_attr: Any, data_args: Any, training_args: Any, check: ScoreCheck | None
) -> Any:
    if check is not None and dataset_attr.load_from == "file":
        problems = all_score_problems(dataset, check)
        if problems:
            raise ValueError(explain(str(dataset_attr), problems))
        check = None
    dataset = decoded(dataset)
    dataset = dataset if check is None else dataset.map(check)
    dataset = select_from_stream(dataset, dataset_attr, get_plan(data_args), training_args)
    aligned = llamafactory_align_dataset(dataset, dataset_attr, data_args, training_args)
    return admit_stream(aligned, dataset_attr, data_args, training_args)


def failing_rows(dataset: Any, dataset_attr: Any, data_args: Any) -> list[Problem]:
    """Find every row that cannot be decoded or converted, one by one; called only after aligning has failed."""
    converter = get_dataset_converter(dataset_attr.formatting, dataset_attr, data_args)
    origins = dataset.select_columns([SOURCE, ROW])
    problems = []
    for i in range(len(dataset)):
        try:
            converter.inner(dataset[i])
        except Exception as error:
            found = f"cannot be converted ({type(error).__name__}: {error})"
            problems.append(Problem(origins[i][SOURCE], origins[i][ROW], "row unreadable", found))
    return problems
