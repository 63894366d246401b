# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which aligned rows are trained on. Unusable rows stop the run together; useless ones are skipped and listed."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass

import datasets
from llamafactory.extras import logging

from ...upstream import DataArguments, TrainingArguments
from ..fields import ROW, SOURCE
from ..media_types import hint_tokenized
from ..types import Row
from .findings import Finding, explain
from .row_log import SKIPPED_FILE, StreamWarnings, open_row_log, summarize_skips
from .rules import RowChecker

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
BATCH = 100  # rows checked at once; they may hold embedded images


def check_rows(
    aligned: datasets.Dataset,
    dataset: str,
    checker: RowChecker,
    data_args: DataArguments,
    training_args: TrainingArguments,
    score_findings: list[Finding],
) -> datasets.Dataset:
    """Check every row of a map-style dataset and return it without the rows that are skipped.

    Args:
        aligned: the aligned dataset.
        dataset: its name.
        checker: checks its rows.
        data_args: for the number of processes.
        training_args: for the rank and the output folder.
        score_findings: what the check of the raw scores found; reported together with the rest.

    Raises:
        ValueError: listing every problem of every row; or if no row is left.
    """
    found = _check(aligned, checker, data_args, training_args)
    findings = [finding for row in found.values() for finding in row]
    skipped = {(finding.source, finding.row) for finding in findings if finding.skips}
    problems = [finding for finding in findings if not finding.skips]
    problems += [finding for finding in score_findings if (finding.source, finding.row) not in skipped]
    if problems:
        forget_cache(aligned)
        raise ValueError(explain(dataset, problems, len(aligned)))

    log = open_row_log(training_args, SKIPPED_FILE)
    skips = [_skip_entry(finding) for finding in findings]
    log.add(skips)
    kept = [i for i in range(len(aligned)) if i not in found]
    summary = summarize_skips(dataset, skips, len(aligned), log)
    if not kept:
        raise ValueError(f"{summary} No row is left.")
    if skips:
        logger.warning_rank0(summary)
    aligned = hint_tokenized(aligned)
    return aligned.select(kept) if skips else aligned


def _check(
    aligned: datasets.Dataset, checker: RowChecker, data_args: DataArguments, training_args: TrainingArguments
) -> dict[int, list[Finding]]:
    """Return the findings of each row that has any; the first process checks anew each run, others read its cache."""
    checked = aligned.with_format("arrow").map(
        checker.check_table,
        batched=True,
        batch_size=BATCH,
        remove_columns=aligned.column_names,
        num_proc=data_args.preprocessing_num_workers,
        load_from_cache_file=training_args.local_process_index != 0,
        desc="Checking rows",
    )
    texts = checked.with_format(None)["findings"]
    return {i: [Finding(*finding) for finding in json.loads(text)] for i, text in enumerate(texts) if text}


def _skip_entry(finding: Finding) -> Row:
    return {"source": finding.source, "row": finding.row, "reason": finding.kind}


def forget_cache(dataset: datasets.Dataset) -> None:
    """Delete the cached work on a refused dataset, which a user will mend.

    An alignment holds paths as they were resolved today, a tokenization the lengths of today's images.
    """
    for entry in dataset.cache_files:
        if os.path.basename(entry["filename"]).startswith("cache-"):
            with contextlib.suppress(FileNotFoundError):  # another rank was faster
                os.remove(entry["filename"])


@dataclass
class StreamChecker:
    """The same checks on a stream, row by row: skipped rows are filtered out, an unusable one raises as it comes.

    Attributes:
        dataset: name for messages.
        checker: checks one row.
        warnings: about skipped rows, with their list.
    """

    dataset: str
    checker: RowChecker
    warnings: StreamWarnings

    def __call__(self, row: Row) -> bool:
        """Return whether the row is trained on.

        Raises:
            ValueError: if the row cannot be trained on; names source and row.
        """
        findings = self.checker(row)
        problems = [finding for finding in findings if not finding.skips]
        if problems:
            raise ValueError(explain(self.dataset, problems))
        log = self.warnings.log
        for finding in findings:
            log.add([_skip_entry(finding)])
            where = f"{finding.source}, row {finding.row}"
            self.warnings.warn((row[SOURCE], row[ROW]), f"{where}: skipped, {finding.kind}; listed in {log.path}.")
        return not findings


def check_stream(
    aligned: datasets.IterableDataset, dataset: str, checker: RowChecker, training_args: TrainingArguments
) -> datasets.IterableDataset:
    """Check a stream lazily; see StreamChecker. How many rows will be skipped is not known in advance."""
    warnings = StreamWarnings(open_row_log(training_args, SKIPPED_FILE), "skipped")
    return aligned.filter(StreamChecker(dataset, checker, warnings))
