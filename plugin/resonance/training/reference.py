# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reference log-probabilities from disk in place of a reference model.

Rows find theirs by content: the collator hashes a row's tokens and media and looks the key up, so
a row that has changed since is an error and never a wrong number.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from llamafactory.extras import logging
from transformers import TrainerCallback

from ..forward.cache import ReferenceStore
from ..rows.collate import describe_rows
from .precompute import fill, key_of, keyed_rows, missing_rows
from .reference_settings import ReferenceModel, made_from, reference_settings
from .weights import load_reference, stands_for_policy

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

REFERENCE_FIELDS = ("ref_chosen_logps", "ref_rejected_logps")
"""In a batch: float32 (B,), sums over the response or means a token, as the loss wants them. No model inputs."""


class PrecomputedError(Exception):
    """Not a failure: `precompute_only: true` and all is computed. The run stops before it trains."""


@dataclass
class ReferenceCollator:
    """Any collator's batch with REFERENCE_FIELDS beside it."""

    collator: Any
    store: ReferenceStore
    means: bool

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate tokenized rows.

        Raises:
            ValueError: a row's reference log-probability is not on disk; names the row.
        """
        keys = [key_of(feature) for feature in features]
        lacking = [row for row, key in zip(features, keys, strict=True) if key not in self.store]
        if lacking:
            raise ValueError(
                f"{self.store.folder} has no reference log-probability of {describe_rows(lacking)}: these rows or "
                "their media have changed since the run began. Start it again to compute them."
            )
        values = self.store.lookup(keys, self.means)
        return {**self.collator(features), **dict(zip(REFERENCE_FIELDS, values.unbind(1), strict=True))}


class CachedReference:
    """What a trainer has instead of a reference model, under `precompute_ref_log_probs: true`.

    Args:
        args: model, data, training and finetuning arguments of the run.
        model: the policy as LlamaFactory loaded it.
        processor: the run's multimodal processor, or None.
        datasets: training and evaluation sets; None and dicts of sets allowed.

    Raises:
        ValueError: the rows are a stream, the folder was made with other settings, or media cannot be read.
    """

    def __init__(self, args: tuple[Any, Any, Any, Any], model: Any, processor: Any, *datasets: Any) -> None:
        self.model_args, _, training_args, self.finetuning_args = args
        self.datasets = _flat(datasets)
        folder = self.finetuning_args.ref_log_probs_dir or os.path.join(training_args.output_dir, "ref_log_probs")
        self.reference = ReferenceModel.of(self.model_args, self.finetuning_args)
        settings = reference_settings(self.reference, args[:3], model.config, processor)
        self.store = ReferenceStore(folder, settings, made_from(self.reference))
        began = time.monotonic()
        rows = keyed_rows(self.datasets, training_args.process_index, training_args.world_size)
        self.missing = missing_rows(rows, self.store)
        told = f"{len(rows)} rows read in {time.monotonic() - began:.1f} s"
        if self.missing:
            told += f", {len(self.missing)} distinct ones are to be computed for {folder}."
        else:
            told += f", all are in {folder}: the reference model is not needed."
        logger.info_rank0(f"Reference log-probs: {told}")

    def model_to_prepare(self, model: Any) -> Any:
        """What the trainer is to prepare as its reference model: None unless a model is called before it trains."""
        if not self.missing:
            return None
        if self.finetuning_args.precompute_only and (self.reference.shared or stands_for_policy(self.finetuning_args)):
            return model
        return None if self.reference.shared else load_reference(self.model_args, self.finetuning_args)

    def attach(self, trainer: Any) -> None:
        """Compute what is missing, now or when training begins, and let every batch carry its values.

        Raises:
            PrecomputedError: the run is to stop after that.
        """
        collator = trainer.data_collator
        if self.missing and trainer.ref_model is None:
            trainer.add_callback(_FillWhenTrainingBegins(self, trainer, collator))
        elif self.missing:
            self.fill(trainer, trainer.ref_model, collator)
            trainer.ref_model = None
            trainer.accelerator.free_memory()
        if self.finetuning_args.precompute_only:
            self._tell()
            raise PrecomputedError
        trainer.data_collator = ReferenceCollator(collator, self.store, trainer.uses_means)

    def fill(self, trainer: Any, model: Any, collator: Any) -> None:
        """Compute what is missing with `model`, as the trainer's accelerator has prepared it."""
        inner = trainer.accelerator.unwrap_model(model)
        with inner.disable_adapter() if self.reference.shared else nullcontext():
            fill(trainer, model, self.store, self.datasets, self.missing, collator)
        if lacking := [row for row in self.missing if row.key not in self.store]:
            raise ValueError(
                f"ref_log_probs_dir: {len(lacking)} rows that other ranks have computed are not in "
                f"{self.store.folder}; all machines need to see the same folder."
            )
        self.missing = []

    def _tell(self) -> None:
        folder = self.store.folder
        logger.info_rank0(
            f"Reference log-probs: {len(self.store)} in {folder}. To train with them, put into the recipe:\n"
            f"precompute_ref_log_probs: true\nref_log_probs_dir: {folder}"
        )


class _FillWhenTrainingBegins(TrainerCallback):
    """For a reference that is the policy with its adapter off: by then the policy is on its device, in its engine."""

    def __init__(self, cached: CachedReference, trainer: Any, collator: Any) -> None:
        self.cached, self.trainer, self.collator = cached, trainer, collator

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.cached.fill(self.trainer, self.trainer.model_wrapped, self.collator)


def _flat(datasets: tuple[Any, ...]) -> list[Any]:
    found = [part for data in datasets for part in (data.values() if isinstance(data, dict) else [data])]
    found = [part for part in found if part is not None]
    if any(not hasattr(part, "__len__") for part in found):
        raise ValueError("precompute_ref_log_probs: the rows of a stream are not known before the training.")
    return found
