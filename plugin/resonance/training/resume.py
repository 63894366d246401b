# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a resumed run continues beside Transformers' own state: renamed weights, and what losses remember.

Transformers saves many vision-language models under the names of older versions (`visual.*` for
`model.visual.*`), and `from_pretrained` maps them back. The Trainer's own resume does not: it calls
`load_state_dict(strict=False)` on the old names, logs a warning, and goes on with the weights the run started from.
Seen with transformers 5.5.4 and 5.6.0 and Qwen2-VL, full fine-tuning.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from typing_extensions import override

from ..losses import Margins, RunningMargins, RunningMean
from .weights import complete_weights


def saved_names(checkpoint: str) -> set[str] | None:
    """Names of the weights in a checkpoint's safetensors files, or None if it has no such files of a whole model."""
    index, single = Path(checkpoint, SAFE_WEIGHTS_INDEX_NAME), Path(checkpoint, SAFE_WEIGHTS_NAME)
    if index.is_file():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    if single.is_file():
        with safe_open(single, framework="pt") as file:
            return set(file.keys())
    return None


def load_renamed(model: Any, checkpoint: str) -> bool:
    """Load a checkpoint whose names differ from the model's; False, with nothing done, if the names agree.

    The weights pass through float32, which holds every lower precision exactly, and are copied into the model's own
    parameters, dtypes unchanged. Raises ValueError by name if the checkpoint lacks a weight.
    """
    names = saved_names(checkpoint) if isinstance(model, PreTrainedModel) else None
    if names is None or names <= set(model.state_dict()):
        return False

    with complete_weights(allow_missing=False):
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32)
    model.load_state_dict(saved.state_dict(), strict=True)
    return True


class ResumableTrainer(Trainer):
    """A Trainer that loads checkpoints also where their weights have older names, and completes them on all ranks."""

    def save_rank_state(self, checkpoint: str) -> None:
        """Write what this rank needs beside its random numbers to go on from a checkpoint."""

    @override
    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.save_rank_state(output_dir)
        # The first rank goes on to write the file that makes the checkpoint complete.
        self.accelerator.wait_for_everyone()

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target = self.model if model is None else model
        if self.is_fsdp_enabled or not load_renamed(target, resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    @override
    def _load_best_model(self) -> None:
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if sharded or not load_renamed(self.model, str(self.state.best_model_checkpoint)):
            super()._load_best_model()


class RunningCallback(TrainerCallback, ExportableState):
    """What a loss remembers of earlier batches, kept with the checkpoints.

    Transformers writes `state()` into every checkpoint's trainer_state.json.
    """

    running: RunningMean | RunningMargins

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": self.running.state_dict()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        saved = state.stateful_callbacks.get(name) if state.global_step else None
        if saved:  # the Trainer restores callbacks by itself only under `restore_callback_states_from_checkpoint`
            self.running.load_state_dict(saved["attributes"])
        state.stateful_callbacks.setdefault(name, self.state())  # it has to know whom it asks when it saves


class BaselineCallback(RunningCallback):
    """BCO's delta: the mean reward of all training batches, over all ranks."""

    running: RunningMean

    def __init__(self) -> None:
        self.running = RunningMean()

    def delta(self, reward: torch.Tensor, accelerator: Any, update: bool) -> torch.Tensor:
        """The mean so far.

        Args:
            reward: the mean of a batch; every rank has one.
            accelerator: of the run.
            update: whether to count it in before.
        """
        if update:
            self.running.update(accelerator.reduce(reward, "mean"), count=accelerator.num_processes)
        return torch.as_tensor(self.running.mean, device=reward.device)


class MarginsCallback(RunningCallback):
    """The margins of a batch on all ranks, beside the running moments of those of all training batches."""

    running: RunningMargins

    def __init__(self, seed: int) -> None:
        self.running = RunningMargins(seed)

    def margins(self, values: torch.Tensor, accelerator: Any, train: bool) -> Margins:
        """What a loss is told of a batch.

        Args:
            values: the margins of this rank's pairs; every rank has as many.
            accelerator: of the run.
            train: whether to count them in before, and to draw pairs.
        """
        every = accelerator.gather(values.detach())
        if train:
            self.running.update(every)
        first = accelerator.process_index * len(values)
        return self.running.margins(every, slice(first, first + len(values)), draws=train)
