# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs that tokenizing found too long, over a whole dataset: stop the run, skip them, or warn what was done."""

from __future__ import annotations

from collections.abc import Sequence
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
from ..validate.findings import SHOWN, Finding, explain
from ..validate.row_log import (
    OVERLONG_FILE,
    SHORTENED_FILE,
    SKIPPED_FILE,
    RowLog,
    StreamWarnings,
    open_row_log,
    summarize_skips,
)
from .policy import Overlong

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
TOO_LONG = "too long"
DONE = {"shrink_image": "smaller images", "cut_text": "shorter text"}
WAYS_OUT = {
    "drop": "`overlong: drop` (leave such rows out)",
    "shrink_image": "`overlong: shrink_image` (make their images smaller)",
    "cut_text": "`overlong: cut_text` (shorten their text)",
}


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


@dataclass(frozen=True)
class OverlongReport:
    """List pairs in the files of the output folder, and put them into words.

    Attributes:
        skipped: the list of rows that are left out.
        shortened: of rows that were shrunk or cut, with their tokens before and after.
        stopping: of rows that stop the run, with the limits they exceed and why the policy could not help.
    """

    skipped: RowLog
    shortened: RowLog
    stopping: RowLog

    def skip(self, found: Sequence[Overlong]) -> list[Row]:
        """List rows that are left out; returns the entries."""
        entries = [_entry(pair, reason=TOO_LONG, tokens=pair.tokens._asdict()) for pair in found]
        self.skipped.add(entries)
        return entries

    def shorten(self, dataset: str, found: Sequence[Overlong], total: int | None = None) -> str:
        """List rows that were shrunk or cut; returns one line that counts them."""
        lengths = [(pair.tokens, pair.left or pair.tokens) for pair in found]
        self.shortened.add(
            _entry(pair, policy=pair.policy, tokens=tokens._asdict(), left=left._asdict())
            for pair, (tokens, left) in zip(found, lengths, strict=True)
        )
        rows = ", ".join(str(pair.row) for pair in found[:5]) + ", ..." * (len(found) > 5)
        of_total = "" if total is None else f" of {total}"
        plural = "s" * (len(found) > 1 or bool(of_total))
        return (
            f"Dataset {dataset}: {DONE[found[0].policy]} in {len(found)}{of_total} row{plural} ({rows}); "
            f"the longest had {max(tokens.total for tokens, _ in lengths)} tokens, "
            f"now {max(left.total for _, left in lengths)}. Every such row is listed in {self.shortened.path}."
        )

    def stop(self, dataset: str, found: Sequence[Overlong], total: int | None = None) -> str:
        """List rows that stop the run; returns the message that names them and what to do."""
        self.stopping.add(
            _entry(pair, tokens=pair.tokens._asdict(), limits=pair.limits, stuck=pair.stuck) for pair in found
        )
        findings = [Finding(TOO_LONG, _in_words(pair), pair.source, pair.row) for pair in found]
        listed = f"\nEvery such row is listed in {self.stopping.path}." if len(found) > SHOWN else ""
        return explain(dataset, findings, total, {TOO_LONG: _cures(found)}) + listed


def make_report(training_args: TrainingArguments) -> OverlongReport:
    """Open the lists of a run; those of an earlier run are removed."""
    return OverlongReport(
        *(open_row_log(training_args, name) for name in (SKIPPED_FILE, SHORTENED_FILE, OVERLONG_FILE))
    )


def _entry(pair: Overlong, **more: object) -> Row:
    return {"source": pair.source, "row": pair.row, **{name: value for name, value in more.items() if value}}


def _in_words(pair: Overlong) -> str:
    tokens = pair.tokens
    media = f"; {tokens.image_tokens} of these for media" if tokens.image_tokens else ""
    answers = f", chosen {tokens.chosen}, rejected {tokens.rejected}" if tokens.rejected else ""
    if tokens.chosen and not tokens.rejected:  # a row of one answer
        answers = f", answer {tokens.chosen}"
    parts = f"prompt {tokens.prompt}{answers}{media}"
    limits = " and ".join(f"`{key}: {limit}`" for key, limit in pair.limits.items())
    stuck = f"; `overlong: {pair.policy}` cannot help: {pair.stuck}" if pair.stuck else ""
    return f"{tokens.total} tokens ({parts}), more than {limits}{stuck}"


def _cures(found: Sequence[Overlong]) -> str:
    """Return every way out: higher limits, or another policy than the one that was tried."""
    needed: dict[str, int] = {}
    for pair in found:
        for key in pair.limits:
            needed[key] = max(pair.tokens.needed[key], needed.get(key, 0))
    raised = " and ".join(f"`{key}: {value}`" for key, value in needed.items())
    useless = {found[0].policy}
    if not any(pair.tokens.image_tokens for pair in found):
        useless.add("shrink_image")
    *others, last = [text for policy, text in WAYS_OUT.items() if policy not in useless]
    ways = f"Set {raised}, or {', '.join(others)}{' or ' * bool(others)}{last}."
    if not any(pair.stuck for pair in found):
        return ways
    rows = ", ".join(str(pair.row) for pair in found[:SHOWN]) + ", ..." * (len(found) > SHOWN)
    return f"{ways} Or correct or remove row {rows} alone: `overlong: {found[0].policy}` does for the others."
