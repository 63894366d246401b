# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Trackers get the names of trainer_state.json: `eval_` becomes `eval/`, and `train/` stands before all others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import SwanLabCallback, TensorBoardCallback, TrackioCallback, WandbCallback

from resonance.training.meters import MeteredTrainer

CALLBACKS = {
    "tensorboard": (TensorBoardCallback, "tb_writer"),
    "wandb": (WandbCallback, "_wandb"),
    "swanlab": (SwanLabCallback, "_swanlab"),
    "trackio": (TrackioCallback, "_trackio"),
}


class Writer:
    """In place of a tracker's package: the names that it is given."""

    def __init__(self):
        self.names = set()

    def add_scalar(self, name, value, step):
        self.names.add(name)

    def log(self, values, step=None):
        self.names |= values.keys()

    def flush(self):
        pass


@pytest.fixture
def line(tmp_path):
    """What a trainer of ours hands to callbacks, for a log line of the training or of an evaluation."""

    def of(logs, split, prefix="eval"):
        model = torch.nn.Linear(1, 1)
        trainer = MeteredTrainer(model, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"))
        trainer.eval_prefix = prefix
        trainer.meters[split].add({"rewards/margins": torch.tensor(1.0), "accuracy/digits": torch.tensor(0.5)}, 2)
        trainer.log(logs)
        return trainer.state.log_history[-1]

    return of


@pytest.mark.parametrize("tracker", CALLBACKS)
def test_names(tracker, line, tmp_path):
    kind, attribute = CALLBACKS[tracker]
    callback, writer = object.__new__(kind), Writer()
    setattr(callback, attribute, writer)
    callback._initialized = True
    given = {**line({"loss": 0.5}, "train"), **line({}, "eval"), **line({}, "eval", "eval_digits_heldout")}
    callback.on_log(
        TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"),
        TrainerState(is_world_process_zero=True),
        TrainerControl(),
        model=SimpleNamespace(),
        logs=given,
    )
    expected = {f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}" for name in given}
    assert expected | {"train/global_step"} == writer.names | {"train/global_step"}
    assert {"train/rewards/margins", "eval/rewards/margins", "eval/digits_heldout_accuracy/digits"} <= writer.names
