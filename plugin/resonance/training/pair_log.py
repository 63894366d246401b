# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`pairs.jsonl`: where every pair sits at every step that it is seen in; docs/pairs.md has the fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from llamafactory.extras import logging
from transformers import TrainerCallback
from typing_extensions import override

from ..rows.fields import ROW, SCORE_FIELDS, SOURCE
from ..rows.sources import SourceNames
from .context import current_run
from .finite import ROWS
from .json_lines import JsonLines, Record
from .meters import BatchResult, MeteredTrainer, Split

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

FILE = "pairs.jsonl"
LENGTHS = ("len_chosen", "len_rejected")
NUMBERS = (
    "margin", "reward_margin", "logp_chosen", "logp_rejected", "ref_logp_chosen", "ref_logp_rejected", *LENGTHS,
    "w_qual", "w_perf",
)  # fmt: skip
LIMIT = 1 << 30  # bytes of the file, above which training pairs are left out


class _Batch(NamedTuple):
    """What is kept of a micro-batch until it is written."""

    step: int
    split: Split
    rows: list[tuple[Any, Any, float | None]]  # source, row, difference of scores
    names: tuple[str, ...]
    values: Any  # (names, rows): a tensor, and numbers once it has been read


class PairLog:
    """Collects what a run knows about its pairs, and writes it on the first rank.

    Adding never waits for the device; `flush` does, once. An evaluation of a step is recorded once.

    Args:
        folder: output folder of the run.
        short_name: of a source of rows.
        writes: whether this is the rank that writes.
    """

    def __init__(self, folder: str, short_name: Callable[[str], str], writes: bool) -> None:
        self.lines = JsonLines(Path(folder, FILE))
        self.short_name, self.writes = short_name, writes
        self._kept: list[_Batch] = []
        self._evaluated: set[tuple[int, str]] = set()
        self._started = self._full = False

    def start(self, kept: Callable[[Record], bool]) -> None:
        """Leave out the other records of an earlier run in this folder; only the first call does."""
        if self.writes and not self._started:
            self.lines.keep(kept)
        self._started = True

    def start_evaluation(self, step: int, name: str) -> bool:
        """Whether it is the first one of that name at that step, and its pairs are to be recorded."""
        first = (step, name) not in self._evaluated
        self._evaluated.add((step, name))
        return first

    def add(self, step: int, split: Split, rows: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> None:
        """Keep a micro-batch.

        Args:
            step: the optimizer step that it is of.
            split: what it is seen for.
            rows: the pairs that count, with source, row and scores as far as known.
            values: of NUMBERS those that there are, (B,), B at least the number of `rows`.
        """
        if rows and values:
            stacked = torch.stack([column.detach().float() for column in values.values()])
            known = [(row.get(SOURCE), row.get(ROW), _score_margin(row)) for row in rows]
            self._kept.append(_Batch(step, split, known, tuple(values), stacked[:, : len(rows)]))

    def flush(self) -> None:
        """Write what has been kept on all ranks; all ranks have to call."""
        kept, self._kept = self._kept, []
        if kept:
            read = iter(torch.cat([batch.values.flatten() for batch in kept]).tolist())
            kept = [batch._replace(values=[[next(read) for _ in batch.rows] for _ in batch.names]) for batch in kept]
        everything = gather_object(kept)
        if self.writes and everything:
            self._write(_once(record for batch in everything for record in self._records(batch)))

    def _records(self, batch: _Batch) -> Iterator[Record]:
        for (source, row, score_margin), *numbers in zip(batch.rows, *batch.values, strict=True):
            found = dict(zip(batch.names, numbers, strict=True))
            name = None if source is None else self.short_name(str(source))
            yield {
                "step": batch.step, "split": batch.split, "dataset": name, "row": row, "score_margin": score_margin,
            } | {number: _shown(number, found.get(number)) for number in NUMBERS}  # fmt: skip

    def _write(self, records: list[Record]) -> None:
        if not self._full and self.lines.size > LIMIT:
            self._full = True
            logger.warning_rank0(
                f"{self.lines.path} has reached {LIMIT >> 20} MiB: from here on only pairs of evaluations are "
                "recorded. `record_pairs: false` in the recipe records none."
            )
        self.lines.add(record for record in records if record["split"] == "eval" or not self._full)


class StartOfPairs(TrainerCallback):
    """Brings the file to the step that a run begins at."""

    def __init__(self, log: PairLog) -> None:
        self.log = log

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A resumed run keeps what its checkpoint has seen, but for an evaluation that comes again."""
        step, again = state.global_step, args.eval_on_start
        self.log.start(lambda record: 0 < step and record["step"] < step + (record["split"] == "train" or not again))


class RecordingTrainer(MeteredTrainer):
    """A Trainer of pairs that records where they sit, if it has a `pair_log`."""

    pair_log: PairLog | None = None
    _records = True  # this evaluation

    def record_pairs(self) -> None:
        """Record from here on."""
        names = SourceNames(current_run().data)
        self.pair_log = PairLog(str(self.args.output_dir), names, self.is_world_process_zero())
        self.add_callback(StartOfPairs(self.pair_log))

    @override
    def _measured(self, model: Any, batch: dict[str, Any], split: Split) -> BatchResult:
        result = super()._measured(model, batch, split)
        if self.pair_log is not None and (split == "train" or self._records):
            step = self.state.global_step + (split == "train")  # the step is counted when it is over
            self.pair_log.add(step, split, batch[ROWS].rows[: result.count], result.pairs)
        return result

    @override
    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        if self.pair_log is not None:
            # without a training: in place of an earlier such evaluation
            self.pair_log.start(lambda record: record["split"] == "train" or record["step"] > 0)
            self._records = self.pair_log.start_evaluation(self.state.global_step, metric_key_prefix)
        return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    @override
    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        super().log(logs, *args, **kwargs)
        if self.pair_log is not None:
            self.pair_log.flush()

    @override
    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        if self.pair_log is not None:
            self.pair_log.flush()
        super()._save_checkpoint(*args, **kwargs)


def _once(records: Iterable[Record]) -> list[Record]:
    """A pair once a step, in the order of steps: ranks that have no row left get rows that others have, too."""
    found: dict[Any, Record] = {}
    for number, record in enumerate(records):
        pair = number if record["row"] is None else (record["dataset"], record["row"])
        found.setdefault((record["step"], record["split"], pair), record)
    return sorted(found.values(), key=lambda record: record["step"])


def _score_margin(row: Mapping[str, Any]) -> float | None:
    chosen, rejected = (row.get(name) for name in SCORE_FIELDS)
    return None if chosen is None or rejected is None else chosen - rejected


def _shown(name: str, value: float | None) -> float | int | None:
    """Six digits, which is what float32 holds safely; null for a number that is not finite, which JSON lacks."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if name in LENGTHS else float(f"{value:.6g}")
