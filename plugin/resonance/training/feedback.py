# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The trainer of KTO: answers that are good or bad each by itself, on the engine of the others.

It moves tensors from the engine to the loss and metrics to the log. Model, optimizer, scheduler, sampler, DeepSpeed
and reference handling are LlamaFactory's.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch
from llamafactory.extras import logging
from llamafactory.train.kto.trainer import CustomKTOTrainer

from ..arguments.feedback import loss_parameters, runs_on_resonance
from ..forward.call import Prepared
from ..forward.readers import Logp
from ..forward.result import TokenLogps, sums
from ..losses import kto_kl, kto_unpaired
from ..rows.fields import TAG
from .context import current_run
from .finite import ROWS, NamingCollator
from .meters import BatchResult, Meter, MeteredTrainer, Split
from .rates import RatesTrainer
from .reference import BeforeTraining, CachedReference
from .referenced import ReferencedTrainer
from .resume import ResumableTrainer
from .run import check_columns
from .sampling import GroupingTrainer
from .stock import RatesKTOTrainer

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
WEIGHT = "weight"
SIDES = {"chosen": True, "rejected": False}  # LlamaFactory's names of what is logged of good and bad answers


class FeedbackMeter(Meter):
    """With the difference of the mean rewards of good and bad answers, where both have been seen."""

    def means(self) -> dict[str, float]:
        """As of any meter."""
        found = super().means()
        rewards = [found[name] for side in SIDES if (name := f"rewards/{side}") in found]
        return {**found, "rewards/margins": rewards[0] - rewards[1]} if len(rewards) == 2 else found


def kto_trainer(model: Any, ref_model: Any, finetuning_args: Any, processor: Any, **kwargs: Any) -> Any:
    """The trainer of a recipe: ours, or LlamaFactory's for one that only has learning rates of parts."""
    ours = runs_on_resonance({**vars(current_run().data), **vars(finetuning_args)})
    return (FeedbackTrainer if ours else RatesKTOTrainer)(
        model=model, ref_model=ref_model, finetuning_args=finetuning_args, processor=processor, **kwargs
    )


class FeedbackTrainer(
    RatesTrainer, MeteredTrainer, ResumableTrainer, GroupingTrainer, ReferencedTrainer, CustomKTOTrainer
):
    """Trains KTO.

    Differences from LlamaFactory's trainer: models get every input that the collator makes; one call of a model reads
    a row's own answer and the borrowed one, so its prompt and its images are read once; the KL divergence is a mean
    over rows, not over ranks, and a log line has means over rows, not sums; a loss that is not finite is not left out;
    `pref_ftx` counts a good answer the same whatever stands beside it; rows may have weights.
    """

    def __init__(self, model: Any, ref_model: Any, finetuning_args: Any, processor: Any, **kwargs: Any) -> None:
        self.loss_params = loss_parameters(vars(finetuning_args))
        datasets = kwargs.get("train_dataset"), kwargs.get("eval_dataset")
        check_columns("stage: kto", (TAG,), *datasets)
        if finetuning_args.sample_weights:
            check_columns("sample_weights", (WEIGHT,), datasets[0])
        cached = None
        if finetuning_args.precompute_ref_log_probs:
            cached = CachedReference(current_run(), model, processor, *datasets)
            ref_model = cached.model_to_prepare(model)
        super().__init__(model, ref_model, finetuning_args, processor, **kwargs)
        self.meters = {"train": FeedbackMeter(), "eval": FeedbackMeter()}
        reference = (self.model if self.ref_model is None else self.ref_model) if cached is None else None
        self.engine = self.make_engine(reference, cached, datasets)
        self.add_callback(BeforeTraining(lambda: self.engine.plan_batches(self.model_wrapped)))
        self._log_opening(datasets[0], cached)
        if cached is not None:
            self.read_reference_from(cached, means=False)
        self.data_collator = NamingCollator(self.data_collator)
        self.stop_after, self.norm_counts = finetuning_args.stop_after_nonfinite, not self.args.fp16

    def _log_opening(self, train: Any, cached: CachedReference | None) -> None:
        """One line on the run, and a warning if its rows teach one side only."""
        given = {**self.loss_params, "pref_ftx": self.ftx_gamma}
        line = (
            f"KTO ({', '.join(f'{name} {value:g}' for name, value in given.items() if value)}); trainer: Resonance's"
        )
        if cached is not None:
            line += f"; reference: log-probabilities in {cached.store.folder}"
        if not hasattr(train, "__len__"):
            logger.info_rank0(f"{line}.")
            return
        seen = Counter(bool(tag) for tag in train.with_format(None)[TAG])
        logger.info_rank0(f"{line}; rows: {seen[True]} good, {seen[False]} bad answers to train on.")
        if not (seen[True] and seen[False]):
            logger.warning_rank0(f"All training rows have {'bad' if seen[False] else 'good'} answers; KTO wants both.")

    def loss_of(self, model: Any, batch: dict[str, Any], split: Split) -> BatchResult:
        """Loss and metrics of a batch of judged answers."""
        prepared = self.engine.prepare(model, batch)
        reference, borrowed_reference = self._reference_logps(model, prepared, batch)
        tokens = self.engine.logps(model, prepared, (Logp(),))
        own, borrowed = sums(tokens).chunk(2)
        count, rows = self.rows_of(len(own))
        kl = kto_kl(
            (borrowed.detach() - borrowed_reference)[:count], partial(self.accelerator.reduce, reduction="sum")
        )
        losses = kto_unpaired(own - reference, kl, batch[TAG], **self.loss_params)
        if self.ftx_gamma:
            losses = losses - self.ftx_gamma * batch[TAG] * own / tokens.lengths.chunk(2)[0]
        metrics = {"kl": kl}
        if self.finetuning_args.sample_weights and split == "train":
            # of these the mean over rows: the same however rows are put into micro-batches and ranks
            losses = losses * batch[WEIGHT].to(losses.dtype)
            metrics[WEIGHT] = batch[WEIGHT][:rows].mean()
        rewards = self.loss_params["beta"] * (own - reference).detach()
        self._measure_sides(batch, {"rewards": rewards, "logps": own.detach()}, count, split)
        return BatchResult(losses[:rows].mean(), metrics, count)

    def _reference_logps(self, model: Any, prepared: Prepared, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Those of the reference, of own and borrowed answers, (B,) each."""
        found = self.reference_of(model, prepared, batch)
        assert found is not None  # there always is a reference
        return sums(found).chunk(2) if isinstance(found, TokenLogps) else found

    def _measure_sides(self, batch: dict[str, Any], values: dict[str, torch.Tensor], count: int, split: Split) -> None:
        """Means over good and over bad answers. Does not wait for the device: how many there are the host knows."""
        known = Counter(bool(row[TAG]) for row in batch[ROWS].rows[:count])
        for side, good in SIDES.items():
            if number := known[good]:
                members = ((batch[TAG] > 0) == good)[:count]
                means = {f"{name}/{side}": (each[:count] * members).sum() / number for name, each in values.items()}
                self.meters[split].add(means, number)
