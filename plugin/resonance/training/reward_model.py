# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The trainer of reward models: a value head read at the last token of each answer, on the engine of the others.

It moves tensors from the engine to the loss and metrics to the log. Model, optimizer, scheduler, DeepSpeed and what
comes after the training are LlamaFactory's.
"""

from __future__ import annotations

from typing import Any

import torch
from llamafactory.extras import logging
from llamafactory.model import load_model as llamafactory_load_model
from llamafactory.model.model_utils.valuehead import load_valuehead_params
from llamafactory.train.callbacks import FixValueHeadModelCallback
from llamafactory.train.rm.trainer import PairwiseTrainer
from typing_extensions import override

from ..arguments.reward_model import loss_parameters, runs_on_resonance
from ..arguments.speedups import asked_speedups
from ..losses import bradley_terry
from ..reward_model.accuracy import groups_of
from ..reward_model.head import (
    HEAD,
    READER,
    add_head,
    base_of,
    closed,
    fill_head,
    load_head,
    rewards,
    split_state,
    write_head,
)
from ..reward_model.settings import settings_of, write_settings
from ..rows.fields import SCORE_FIELDS
from ..rows.sources import SourceNames
from .context import current_run
from .critic import taken_out
from .engine import Engine
from .finite import ROWS, NamingCollator
from .meters import BatchResult, Split
from .pair_log import RecordingTrainer
from .rates import RatesTrainer
from .reference import BeforeTraining
from .resume import ResumableTrainer
from .reward_model_resume import ResumedPairwiseTrainer
from .sampling import GroupingTrainer
from .speedups import Batches
from .weights import complete_weights

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def load_model(
    tokenizer: Any, model_args: Any, finetuning_args: Any, is_trainable: bool = False, add_valuehead: bool = True
) -> Any:
    """LlamaFactory's `load_model`, complete, with the value head in the model instead of around it.

    Raises:
        ValueError: the checkpoint lacks weights, or there is no value head to evaluate.
    """
    with complete_weights(finetuning_args.allow_missing_weights):
        model = llamafactory_load_model(tokenizer, model_args, finetuning_args, is_trainable, add_valuehead=False)
    head = add_head(model).requires_grad_(is_trainable)
    folder = (model_args.adapter_name_or_path or [model_args.model_name_or_path])[-1]
    state = load_valuehead_params(folder, model_args)
    if state is not None:
        fill_head(head, state, folder)
    elif not is_trainable:
        raise ValueError(f"{folder} has no value head, so there is nothing to evaluate; train it first, in stage: rm.")
    return model


def keep_checkpoint(model: Any, output_dir: str, safe_serialization: bool) -> None:
    """What LlamaFactory takes apart after the training our trainer has saved apart."""


def reward_trainer(finetuning_args: Any, processor: Any, **kwargs: Any) -> Any:
    """The trainer of a recipe: ours, or LlamaFactory's for one that only resumes."""
    trainer = RewardTrainer if runs_on_resonance(vars(finetuning_args)) else ResumedPairwiseTrainer
    return trainer(finetuning_args=finetuning_args, processor=processor, **kwargs)


class RewardTrainer(RatesTrainer, RecordingTrainer, ResumableTrainer, GroupingTrainer, PairwiseTrainer):
    """Trains a value head, and the model below it, on pairs.

    Differences from LlamaFactory's trainer: models are called by an `Engine`, which reads the head where responses are
    and makes no logits; margins and weights from scores; accuracies by data set and by difference of scores; the head
    is saved in its own file at once; a run resumes.
    """

    data_collator: Any

    def __init__(self, finetuning_args: Any, processor: Any, **kwargs: Any) -> None:
        self.loss_params = loss_parameters(vars(finetuning_args))
        run = current_run()
        adapters = finetuning_args.finetuning_type == "lora"
        self.settings = settings_of(run.model, run.data, adapters, finetuning_args.create_new_adapter)
        kwargs["data_collator"].longer = closed
        super().__init__(finetuning_args=finetuning_args, processor=processor, **kwargs)
        self.remove_callback(FixValueHeadModelCallback)
        batches = Batches(self.data_collator, self._prepare_inputs, self.train_dataset, (*SCORE_FIELDS, ROWS))
        self.engine = Engine(
            self.accelerator, self.model, None, asked_speedups(finetuning_args.pref_speedups), batches
        )
        self.add_callback(BeforeTraining(lambda: self.engine.plan_batches(self.model_wrapped)))
        self.data_collator = NamingCollator(self.data_collator)
        self.stop_after, self.norm_counts = finetuning_args.stop_after_nonfinite, not self.args.fp16
        self.source_names = SourceNames(run.data)
        if finetuning_args.record_pairs:
            self.record_pairs()
        self._seen: tuple[torch.Tensor, ...] = ()  # rewards of the last batch
        on = ", ".join(f"{name} {value:g}" for name, value in self.loss_params.items() if value)
        logger.info_rank0(f"Reward model: Bradley-Terry loss ({on or 'no margin, no weights'}); trainer: Resonance's.")

    # -- a batch --------------------------------------------------------------------------------------------------

    def rewards_of(self, model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        """Rewards of the chosen and of the rejected answers of a collated batch, (B,) each."""
        prepared = self.engine.prepare(model, batch)
        return rewards(self.engine.logps(model, prepared, (READER,))).chunk(2)

    @override
    def loss_of(self, model: Any, batch: dict[str, Any], split: Split) -> BatchResult:
        """Loss and metrics of a batch of pairs."""
        chosen, rejected = self.rewards_of(model, batch)
        scores = [batch[name] for name in SCORE_FIELDS if name in batch]
        gap = scores[0] - scores[1] if scores else None
        losses = bradley_terry(chosen, rejected, gap, **self.loss_params)
        count, rows = self.rows_of(len(losses))
        self._seen = chosen.detach(), rejected.detach()
        right = (self._seen[0] > self._seen[1]).float()
        parts = {"chosen": self._seen[0], "rejected": self._seen[1], "margins": self._seen[0] - self._seen[1]}
        metrics = {"accuracy": right[:rows].mean()}
        metrics |= {f"rewards/{name}": values[:rows].mean() for name, values in parts.items()}
        self._measure_groups(batch[ROWS].rows[:count], right, split)
        return BatchResult(losses[:rows].mean(), metrics, count, {"reward_margin": parts["margins"]})

    def _measure_groups(self, rows: list[dict[str, Any]], right: torch.Tensor, split: Split) -> None:
        """Accuracies by data set and by difference of scores. Does not wait for the device."""
        groups = groups_of(rows, self.source_names)
        if not groups:
            return
        members = torch.zeros(len(groups), len(right))
        for number, places in enumerate(groups.values()):
            members[number, places] = 1 / len(places)
        means = members.to(right.device, non_blocking=True) @ right
        for (name, places), mean in zip(groups.items(), means, strict=True):
            self.meters[split].add({f"accuracy/{name}": mean}, len(places))

    @override
    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, Any, None]:
        """As that of the other trainers, with the rewards: LlamaFactory writes them down under `do_predict`."""
        loss, _, _ = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        return loss, None if prediction_loss_only else self._seen, None

    # -- files ----------------------------------------------------------------------------------------------------

    @override
    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = output_dir or str(self.args.output_dir)
        rest, head = split_state(self.model.state_dict() if state_dict is None else state_dict)
        if head:  # ZeRO-3 may keep all weights in its own files
            write_head(head, folder)
        write_settings(self.settings, folder)
        with taken_out((base_of(self.model), HEAD)):
            super()._save(folder, rest)

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        base = base_of(self.model if model is None else model)
        head = getattr(base, HEAD)
        load_head(head, resume_from_checkpoint)
        with taken_out((base, HEAD)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
