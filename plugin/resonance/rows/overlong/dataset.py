# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs that tokenizing found too long, over a whole dataset: stop the run, skip them, or warn what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import datasets
from llamafactory.data.loader import _get_preprocessed_dataset as llamafactory_get_preprocessed_dataset
from llamafactory.extras import logging

from ...upstream import DataArguments, TrainingArguments
from ..fields import OVERLONG, ROW, SOURCE
from ..stream import Dataset
from ..types import Row
from ..validate.dataset import forget_cache
from ..validate.row_log import StreamWarnings, summarize_skips
from .policy import Overlong
from .report import OverlongReport, make_report

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def get_preprocessed_dataset(
    dataset: Dataset | None, data_args: DataArguments, training_args: TrainingArguments, *args: Any, **kwargs: Any
) -> Dataset | None:
    """Tokenize like LlamaFactory, then report what was found too long.

    Raises:
        ValueError: listing every row that is too long and may not be dropped, shrunk or cut; or if no row is left.
    """
    tokenized = llamafactory_get_preprocessed_dataset(dataset, data_args, training_args, *args, **kwargs)
    if isinstance(tokenized, datasets.IterableDataset):
        report = make_report(training_args)
        warnings = StreamWarnings(report.skipped, "overlong")
        return tokenized.filter(OverlongStream(report, warnings)).remove_columns([OVERLONG])
    if tokenized is None or OVERLONG not in tokenized.column_names:  # another stage's
        return tokenized
    return report_overlong(tokenized, make_report(training_args))


def report_overlong(tokenized: datasets.Dataset, report: OverlongReport) -> datasets.Dataset:
    """Return a map-style dataset without the rows that are dropped; see get_preprocessed_dataset."""
    marks = enumerate(tokenized.with_format(None)[OVERLONG])
    places = tokenized.select_columns([OVERLONG, SOURCE, ROW])
    overlong = {i: Overlong.of(places[i]) for i, mark in marks if mark}
    pairs = tokenized.remove_columns(OVERLONG)
    if not overlong:
        return pairs
    found, total = list(overlong.values()), len(tokenized)
    name = ", ".join(dict.fromkeys(pair.source for pair in found))

    stopping = [pair for pair in found if pair.stops]
    if stopping:
        forget_cache(tokenized)
        raise ValueError(report.stop(name, stopping, total))
    if found[0].policy != "drop":
        logger.warning_rank0(report.shorten(name, found, total))
        return pairs
    summary = summarize_skips(name, report.skip(found), total, report.skipped)
    if len(found) == total:
        limits = dict.fromkeys(f"`{key}`" for pair in found for key in pair.limits)
        raise ValueError(f"{summary} No row is left. Raise {' and '.join(limits)}.")
    logger.warning_rank0(summary)
    return pairs.select([i for i in range(total) if i not in overlong])


@dataclass
class OverlongStream:
    """Report one tokenized row of a stream as it comes.

    Attributes:
        report: lists rows.
        warnings: about the first of them.
    """

    report: OverlongReport
    warnings: StreamWarnings

    def __call__(self, row: Row) -> bool:
        """Return False for a row that is left out.

        Raises:
            ValueError: if it is too long and may not be dropped, shrunk or cut; names source and row.
        """
        if not row[OVERLONG]:
            return True
        pair = Overlong.of(row)
        if pair.stops:
            raise ValueError(self.report.stop(pair.source, [pair]))
        if pair.policy == "drop":
            self.report.skip([pair])
            found = f"skipped, too long ({pair.tokens.total} tokens)"
            message = f"{pair.source}, row {pair.row}: {found}; listed in {self.report.skipped.path}."
        else:
            message = self.report.shorten(pair.source, [pair])
        self.warnings.warn((pair.source, pair.row), message)
        return pair.policy != "drop"
