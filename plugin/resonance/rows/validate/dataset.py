# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which aligned rows go on. Unusable rows stop the run together; useless ones are left out and listed."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from llamafactory.extras import logging

from ..fields import ROW, SOURCE
from ..media_types import hint_tokenized
from .findings import SHOWN, SKIP_FILE, Problem, RowLog, Skip, explain, open_row_log, summarize
from .row_checker import Finding, RowInspector, make_inspector

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
SCAN_BATCH = 100  # a batch may hold embedded images


def admit_rows(
    aligned: Any, dataset_attr: Any, data_args: Any, training_args: Any, score_problems: list[Problem]
) -> Any:
    """Inspect every row of a map-style dataset and return it without the rows that are skipped.

    Args:
        aligned: the aligned dataset.
        dataset_attr: its dataset_info.json entry.
        data_args: LlamaFactory's data arguments.
        training_args: for the rank and the output folder.
        score_problems: what the check of the raw scores found; told together with the rest.

    Raises:
        ValueError: listing every problem of every row; or if no row is left.
    """
    problems, skips, kept = _sort_rows(aligned, _scan(aligned, dataset_attr, data_args, training_args))
    skipped = {(skip.source, skip.row) for skip in skips}
    problems += [problem for problem in score_problems if (problem.source, problem.row) not in skipped]
    if problems:
        forget_cache(aligned)
        raise ValueError(explain(str(dataset_attr), problems, len(aligned)))

    path = os.path.join(training_args.output_dir, SKIP_FILE)
    if training_args.process_index == 0:
        open_row_log(path).add(skips)
    told = summarize(str(dataset_attr), skips, len(aligned), path)
    if not kept:
        raise ValueError(f"{told} No row is left.")
    if skips:
        logger.warning_rank0(told)
    aligned = hint_tokenized(aligned)
    return aligned.select(kept) if skips else aligned


def _scan(aligned: Any, dataset_attr: Any, data_args: Any, training_args: Any) -> list[str]:
    """Inspect all rows. The first process looks at the files anew each run; its neighbours read what it found."""
    scanned = aligned.with_format("arrow").map(
        make_inspector(dataset_attr, data_args).scan,
        batched=True,
        batch_size=SCAN_BATCH,
        remove_columns=aligned.column_names,
        num_proc=data_args.preprocessing_num_workers,
        load_from_cache_file=training_args.local_process_index != 0,
        desc="Checking rows",
    )
    return list(scanned.with_format(None)["findings"])


def _sort_rows(aligned: Any, scanned: list[str]) -> tuple[list[Problem], list[Skip], list[int]]:
    origins = aligned.select_columns([SOURCE, ROW])
    problems, skips, kept = [], [], []
    for i, text in enumerate(scanned):
        if not text:
            kept.append(i)
            continue
        source, row = origins[i][SOURCE], origins[i][ROW]
        for finding in (Finding(*entry) for entry in json.loads(text)):
            if finding.skip:
                skips.append(Skip(source, row, finding.kind))
            else:
                problems.append(Problem(source, row, finding.kind, finding.found))
    return problems, skips, kept


def forget_cache(aligned: Any) -> None:
    """Delete the cached alignment of a refused dataset.

    It holds the paths as they were resolved today; a user who then adds the missing image would get the old ones.
    """
    for entry in aligned.cache_files:
        if os.path.basename(entry["filename"]).startswith("cache-"):
            with contextlib.suppress(FileNotFoundError):  # another rank was faster
                os.remove(entry["filename"])


@dataclass
class StreamAdmission:
    """The same checks on a stream, row by row: skipped rows are filtered out, an unusable one raises as it comes.

    Args:
        dataset: name for messages.
        inspector: looks at one row.
        log: where skipped rows are listed; None on all ranks but the first.
    """

    dataset: str
    inspector: RowInspector
    log: RowLog | None
    skipped: set[tuple[str, int]] = field(default_factory=set)

    def __call__(self, row: dict[str, Any]) -> bool:
        """Return whether the row goes on.

        Raises:
            ValueError: if the row cannot be trained on; names source and row.
        """
        findings = self.inspector(row)
        problems = [Problem(row[SOURCE], row[ROW], found.kind, found.found) for found in findings if not found.skip]
        if problems:
            raise ValueError(explain(self.dataset, problems))
        if findings:
            self._skip(Skip(row[SOURCE], row[ROW], findings[0].kind))
        return not findings

    def _skip(self, skip: Skip) -> None:
        if self.log is None or (skip.source, skip.row) in self.skipped:
            return
        self.skipped.add((skip.source, skip.row))
        self.log.add([skip])
        if len(self.skipped) <= SHOWN:
            last = " Further skipped rows of this dataset are only listed there." * (len(self.skipped) == SHOWN)
            logger.warning(f"{skip.source}, row {skip.row}: skipped, {skip.reason}; listed in {self.log.path}.{last}")


def admit_stream(aligned: Any, dataset_attr: Any, data_args: Any, training_args: Any) -> Any:
    """Check a stream lazily; see StreamAdmission. How many rows will be skipped is not known in advance."""
    path = os.path.join(training_args.output_dir, SKIP_FILE)
    log = open_row_log(path) if training_args.process_index == 0 else None
    return aligned.filter(StreamAdmission(str(dataset_attr), make_inspector(dataset_attr, data_args), log))
