# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reference log-probabilities of pairs from disk in place of a reference model, from recipe to batch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from llamafactory.extras import logging
from llamafactory.extras.misc import infer_optim_dtype
from transformers import TrainerCallback

from ..reference.adapters import adapters_off
from ..reference.collate import ReferenceCollator
from ..reference.fill import fill, keyed_rows, missing_rows
from ..reference.settings import ReferenceModel, made_from, reference_settings
from ..reference.store import ReferenceStore
from .context import RunArguments, RunIsOver
from .engine import Engine
from .weights import load_reference, stands_for_policy

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

PAIR_COLUMNS = ("chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels")
"""Of a tokenized pair: what the reference reads, beside media."""

REFERENCE_FIELDS = ("ref_chosen_logps", "ref_rejected_logps")
"""In a batch: float32 (B,), sums over the response or means a token, as the loss wants them. No model inputs."""


class CachedReference:
    """What a trainer has instead of a reference model, under `precompute_ref_log_probs: true`.

    Args:
        args: of the run.
        model: the policy as LlamaFactory loaded it.
        processor: the run's multimodal processor, or None.
        datasets: training and evaluation sets; None and dicts of sets allowed.

    Raises:
        ValueError: the rows are a stream, the folder was made with other settings, or media cannot be read.
    """

    def __init__(self, args: RunArguments, model: Any, processor: Any, *datasets: Any) -> None:
        self.args = args
        self.datasets = _flat(datasets)
        folder = args.finetuning.ref_log_probs_dir or os.path.join(args.training.output_dir, "ref_log_probs")
        self.reference = ReferenceModel.of(args.model, args.finetuning)
        dtype = args.model.compute_dtype or infer_optim_dtype(getattr(model.config, "torch_dtype", None))
        settings = reference_settings(self.reference, args[:3], model.config, processor, dtype)
        self.store = ReferenceStore(folder, settings, made_from(self.reference), responses=len(REFERENCE_FIELDS))
        began = time.monotonic()
        rows = keyed_rows(self.datasets, PAIR_COLUMNS, args.training.process_index, args.training.world_size)
        self.missing = missing_rows(rows, self.store)
        line = f"{len(rows)} rows read in {time.monotonic() - began:.1f} s"
        if self.missing:
            line += f", {len(self.missing)} distinct ones are to be computed for {folder}."
        else:
            line += f", all are in {folder}: the reference model is not needed."
        logger.info_rank0(f"Reference log-probs: {line}")

    @property
    def calls_policy(self) -> bool:
        """Whether a pass with the policy's weights, its adapters off, is still to come."""
        return bool(self.missing) and self.reference.shared

    @property
    def is_all(self) -> bool:
        """Whether the run ends once everything is on disk."""
        only: bool = self.args.finetuning.precompute_only
        return only

    def model_to_prepare(self, model: Any) -> Any:
        """What the trainer is to prepare as its reference model: None unless a model is called before it trains."""
        if not self.missing:
            return None
        if self.is_all and (self.reference.shared or stands_for_policy(self.args.finetuning)):
            return model
        return None if self.reference.shared else load_reference(self.args.model, self.args.finetuning)

    def fill(self, engine: Engine, model: Any) -> None:
        """Compute what is missing with `model`, as the trainer's accelerator has prepared it."""
        caller, began, count = engine.alone(model), time.monotonic(), len(self.missing)
        with adapters_off(caller.unwrapped(model)) if self.reference.shared else nullcontext():
            fill(caller, model, self.store, self.datasets, self.missing, self.args.training)
        seconds = time.monotonic() - began
        logger.info_rank0(
            f"Reference log-probs: {count} rows computed in {seconds:.1f} s ({count / seconds:.1f} rows/s)."
        )
        if lacking := [row for row in self.missing if row.key not in self.store]:
            raise ValueError(
                f"ref_log_probs_dir: {len(lacking)} rows that other ranks have computed are not in "
                f"{self.store.folder}; all machines need to see the same folder."
            )
        self.missing = []

    def collator(self, collator: Callable[..., dict[str, torch.Tensor]], means: bool) -> ReferenceCollator:
        """`collator` with REFERENCE_FIELDS in its batches, as means a token or as sums."""
        return ReferenceCollator(collator, self.store, PAIR_COLUMNS, REFERENCE_FIELDS, means)

    def end_run(self) -> None:
        """Log what to put into the recipe, and stop a run that only computes.

        Raises:
            RunIsOver: always.
        """
        folder = self.store.folder
        logger.info_rank0(
            f"Reference log-probs: {len(self.store)} in {folder}. To train with them, put into the recipe:\n"
            f"precompute_ref_log_probs: true\nref_log_probs_dir: {folder}"
        )
        raise RunIsOver


class BeforeTraining(TrainerCallback):
    """Calls a function when the training begins: by then the policy is on its device, in its engine."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.function()


def _flat(datasets: tuple[Any, ...]) -> list[Any]:
    found = [part for data in datasets for part in (data.values() if isinstance(data, dict) else [data])]
    found = [part for part in found if part is not None]
    if any(not hasattr(part, "__len__") for part in found):
        raise ValueError("precompute_ref_log_probs: the rows of a stream are not known before the training.")
    return found
