# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Raw dataset -> aligned dataset of rows that can be trained on. The order of the checks is written here."""

from __future__ import annotations

import datasets
from llamafactory.data.converter import align_dataset as llamafactory_align_dataset
from llamafactory.extras import logging

from ..upstream import DataArguments, TrainingArguments
from .convert import get_dataset_converter
from .fields import ROW, SOURCE
from .load import number_rows
from .media_types import hint_aligned
from .plan import RowPlan, get_plan
from .select import select_rows
from .stream import Dataset, decoded, undecoded
from .types import DatasetAttr
from .validate.dataset import check_rows, check_stream
from .validate.findings import Finding, explain
from .validate.raw_columns import (
    PAIR_COLUMNS,
    number_findings,
    raw_names,
    require_columns,
    require_numbers,
    require_text,
    reversed_scores,
    score_columns,
)
from .validate.rules import make_row_checker

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def align_dataset(
    dataset: Dataset, dataset_attr: DatasetAttr, data_args: DataArguments, training_args: TrainingArguments
) -> Dataset:
    """Align a dataset as LlamaFactory does, keep scores and origins, and keep only rows that can be trained on.

    Training rows that the plan does not ask for are left out first.

    Raises:
        ValueError: if the dataset is empty, its entry does not fit, or rows are unusable; every problem at once for a
            map-style dataset, at the row itself for a stream.
    """
    plan = get_plan(data_args)
    if plan.kind == "other":  # LlamaFactory knows what to do with these rows; only how many there are is ours
        selected = select_rows(dataset, dataset_attr, plan, training_args)
        return llamafactory_align_dataset(selected, dataset_attr, data_args, training_args)
    streaming = isinstance(dataset, datasets.IterableDataset)
    dataset = undecoded(dataset) if streaming else dataset
    names = list(next(iter(dataset), {})) if streaming else dataset.column_names
    if not names or (not streaming and len(dataset) == 0):
        raise ValueError(f"Dataset {dataset_attr} has no rows.")
    if ROW not in names:  # read by something else than load_dataset: a cloud file, another hub
        dataset = number_rows(dataset, [(str(dataset_attr), None)])
    answers = ("response" if dataset_attr.formatting == "alpaca" else "messages",)
    needed = {"pairs": PAIR_COLUMNS, "feedback": answers}
    require_columns(dataset_attr, names, plan.read, needed.get(plan.kind, ()))
    require_text(dataset_attr, dataset.features)

    columns = raw_names(dataset_attr, plan.read)
    align = _align_stream if streaming else _align_rows
    return align(dataset, dataset_attr, data_args, training_args, plan, columns)


def _align_rows(
    dataset: datasets.Dataset,
    dataset_attr: DatasetAttr,
    data_args: DataArguments,
    training_args: TrainingArguments,
    plan: RowPlan,
    columns: dict[str, str],
) -> datasets.Dataset:
    findings = number_findings(dataset, columns) if columns else []
    if not findings:
        _remark_on_order(dataset, dataset_attr, plan)
    dataset = hint_aligned(dataset, dataset_attr)
    if not findings:
        dataset = select_rows(dataset, dataset_attr, plan, training_args)
    try:
        aligned = llamafactory_align_dataset(dataset, dataset_attr, data_args, training_args)
    except Exception as error:
        findings += _failing_rows(dataset, dataset_attr, data_args)
        if not findings:
            raise
        raise ValueError(explain(str(dataset_attr), findings, len(dataset))) from error
    checker = make_row_checker(dataset_attr, data_args, plan)
    return check_rows(aligned, str(dataset_attr), checker, data_args, training_args, findings)


def _remark_on_order(dataset: Dataset, dataset_attr: DatasetAttr, plan: RowPlan) -> None:
    if not plan.reads_scores:
        return
    try:
        remark = reversed_scores(dataset, score_columns(dataset_attr), stop=plan.needs_scores)
    except ValueError as error:
        raise ValueError(f"Dataset {dataset_attr}: {error}") from None
    if remark:
        logger.warning_rank0(f"Dataset {dataset_attr}: {remark}")


def _failing_rows(dataset: datasets.Dataset, dataset_attr: DatasetAttr, data_args: DataArguments) -> list[Finding]:
    """Return every row that cannot be decoded or converted, one by one; called only after aligning has failed."""
    converter = get_dataset_converter(dataset_attr.formatting, dataset_attr, data_args)
    origins = dataset.select_columns([SOURCE, ROW])
    findings = []
    for i in range(len(dataset)):
        try:
            converter.convert(dataset[i])
        except Exception as error:
            found = f"cannot be converted ({type(error).__name__}: {error})"
            findings.append(Finding("row unreadable", found, origins[i][SOURCE], origins[i][ROW]))
    return findings


def _align_stream(
    dataset: datasets.IterableDataset,
    dataset_attr: DatasetAttr,
    data_args: DataArguments,
    training_args: TrainingArguments,
    plan: RowPlan,
    columns: dict[str, str],
) -> datasets.IterableDataset:
    if columns and dataset_attr.load_from == "file":  # read twice, so that all illegal numbers are reported at once
        findings = number_findings(dataset, columns)
        if findings:
            raise ValueError(explain(str(dataset_attr), findings))
        _remark_on_order(dataset, dataset_attr, plan)
        columns = {}
    dataset = decoded(dataset)
    dataset = dataset.map(require_numbers, fn_kwargs={"columns": columns}) if columns else dataset
    dataset = select_rows(dataset, dataset_attr, plan, training_args)
    aligned = llamafactory_align_dataset(dataset, dataset_attr, data_args, training_args)
    return check_stream(aligned, str(dataset_attr), make_row_checker(dataset_attr, data_args, plan), training_args)
