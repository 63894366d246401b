# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Metrics between two log lines: summed on the device, read once a log line, averaged over ranks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from llamafactory.extras import logging
from transformers import Trainer
from typing_extensions import override

from .finite import FiniteTrainer, non_finite

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

Split = Literal["train", "eval"]
LOSS, NORM = "loss", "grad_norm"  # the Trainer's own names, so no metric has them


@dataclass(frozen=True)
class BatchResult:
    """What a micro-batch gives.

    Attributes:
        loss: to train on, a scalar.
        metrics: by name, 0-d and detached: means over `count` rows.
        count: how many rows these and the loss are means of.
        pairs: what `pairs.jsonl` records of each pair, by name, (B,) each.
    """

    loss: torch.Tensor
    metrics: Mapping[str, torch.Tensor]
    count: int
    pairs: Mapping[str, torch.Tensor] = field(default_factory=dict)


def own_rows(rows: int, size: int, world: int, rank: int) -> Iterator[int]:
    """How many rows of each batch of a rank are rows of the set, in the order in which Accelerate hands them out.

    It fills up the last batches of the ranks with rows from the beginning, which would be counted twice.

    Args:
        rows: of the set.
        size: rows a batch.
        world: how many ranks there are.
        rank: of this process.
    """
    return (min(max(rows - (number * world + rank) * size, 0), size) for number in itertools.count())


class Meter:
    """Running means of named values over rows. Adding never waits for the device; `means` does, once."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, means: Mapping[str, torch.Tensor], count: int) -> None:
        """Add one micro-batch.

        Args:
            means: over its rows, 0-d tensors, already detached. Names may differ from batch to batch and from rank to
                rank; a mean is over the rows of those that have it.
            count: how many rows; 0 for a batch of nothing but repeated ones.
        """
        if not count:
            return
        for name, value in means.items():
            total = value.float() * count
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] = self._counts.get(name, 0) + count

    def means(self) -> dict[str, float]:
        """Means over all rows added since the last call, on all ranks; starts anew. All ranks have to call."""
        sums = torch.stack(list(self._sums.values())).tolist() if self._sums else []
        mine = dict(zip(self._sums, zip(sums, self._counts.values(), strict=True), strict=True))
        self._sums, self._counts = {}, {}
        totals: dict[str, tuple[float, int]] = {}
        for part in gather_object([mine]):  # by name: what one rank has and another has not
            for name, (total, count) in part.items():
                before = totals.get(name, (0.0, 0))
                totals[name] = before[0] + total, before[1] + count
        return {name: total / count for name, (total, count) in totals.items()}


class MeteredTrainer(FiniteTrainer):
    """A Trainer that measures what `loss_of` gives, and adds the means to its log lines.

    Attributes:
        counted: how many rows of the batch that `loss_of` is called with count, the first ones; None for all.
    """

    counted: int | None = None
    _own_rows: Iterator[int] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.meters: dict[Split, Meter] = {"train": Meter(), "eval": Meter()}
        self.eval_prefix = "eval"
        super().__init__(*args, **kwargs)

    def loss_of(self, model: Any, batch: dict[str, torch.Tensor], split: Split) -> BatchResult:
        """Loss and metrics of a collated batch."""
        raise NotImplementedError

    def rows_of(self, batch_rows: int) -> tuple[int, int]:
        """How many rows of a batch count, and how many are averaged: the first ones.

        Of a batch that does not count at all one is averaged, and its numbers are not read.
        """
        count = batch_rows if self.counted is None else self.counted
        return count, max(count, 1)

    def _measured(self, model: Any, batch: dict[str, torch.Tensor], split: Split) -> BatchResult:
        """`loss_of`, added to the next log line.

        The loss is measured, too, to see whether it is finite: the Trainer leaves one that is not out of its average
        and then logs 0 (`logging_nan_inf_filter`).
        """
        result = self.loss_of(model, batch, split)
        self.meters[split].add({**result.metrics, LOSS: result.loss.detach()}, result.count)
        if split == "train":
            self.note(batch, result.loss)
        return result

    @override
    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        result = self._measured(model, inputs, "train")
        return (result.loss, dict(result.metrics)) if return_outputs else result.loss

    @override
    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, None, None]:
        self.counted = next(self._own_rows) if self._own_rows is not None else None
        try:
            with torch.no_grad():
                return self._measured(model, inputs, "eval").loss, None, None
        finally:
            self.counted = None

    @override
    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """As upstream, on each row once: the last batches of several ranks are filled up with rows of the first."""
        run, rows = self.args, getattr(dataloader, "dataset", None)
        if isinstance(rows, Sized) and not self.accelerator.split_batches:  # how long a stream is nobody knows
            self._own_rows = own_rows(len(rows), run.eval_batch_size, run.world_size, run.process_index)
        try:
            return super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            self._own_rows = None

    @override
    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """As upstream; with several evaluation sets each has metrics of its own, `eval_NAME_rewards/accuracies`."""
        self.eval_prefix = metric_key_prefix
        return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    @override
    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the metrics since the last line to `logs`, in place: `evaluate` returns the same dict to its caller.

        The loss of an evaluation is the mean over rows, as the metrics are; upstream's depends on the batch size.
        """
        split: Split = "train" if LOSS in logs else "eval"
        prefix = "" if split == "train" else f"{self.eval_prefix}_"
        found = self.meters[split].means()
        means = {f"{prefix}{name}": value for name, value in found.items() if name != LOSS or split == "eval"}
        logs.update(means)
        if split == "train":
            self.look_at({LOSS: found.get(LOSS), **means, NORM: logs.get(NORM) if self.norm_counts else None})
        elif wrong := non_finite(means):
            logger.warning_rank0(f"Step {self.state.global_step}: not finite: {', '.join(wrong)}.")
        Trainer.log(self, logs, *args, **kwargs)  # a trainer between this one and that has meters of its own
