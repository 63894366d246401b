# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Meters and curves, with numbers small enough to check by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer

from resonance.training.curves import curves, plot_loss
from resonance.training.metrics import Meter, non_finite
from resonance.training.preference import UNFILTERED, PreferenceTrainer


class TwoRanks:
    """An accelerator whose other rank has added one pair with every value 5."""

    device = torch.device("cpu")
    calls = 0

    def reduce(self, tensor, kind):
        assert kind == "sum"
        self.calls += 1
        return tensor + torch.tensor([*[5.0] * (len(tensor) - 1), 1.0])


def test_means_over_the_pairs_of_all_ranks_in_one_exchange():
    meter, accelerator = Meter(), TwoRanks()
    meter.add({"a": torch.tensor(1.0), "b": torch.tensor(10.0)}, pairs=2)
    meter.add({"a": torch.tensor(3.0), "b": torch.tensor(30.0)}, pairs=1)
    assert meter.means(accelerator) == {"a": (2 + 3 + 5) / 4, "b": (20 + 30 + 5) / 4}
    assert accelerator.calls == 1


def test_a_short_last_batch_weighs_what_it_holds():
    """7 pairs, 6 of them right: the accuracy is 6/7 whatever the batch size."""
    right = torch.tensor([1.0, 1, 1, 0, 1, 1, 1])
    for size in (1, 4, 7):
        meter = Meter()
        for batch in right.split(size):
            meter.add({"accuracy": batch.mean()}, pairs=len(batch))
        assert meter.means(OneRank())["accuracy"] == pytest.approx(6 / 7)


class OneRank:
    device = torch.device("cpu")

    def reduce(self, tensor, kind):
        return tensor


def test_a_meter_starts_anew_after_it_was_read():
    meter = Meter()
    meter.add({"a": torch.tensor(4.0)}, pairs=3)
    meter.means(OneRank())
    assert meter.means(OneRank()) == {}
    meter.add({"a": torch.tensor(8.0)}, pairs=1)
    assert meter.means(OneRank()) == {"a": 8.0}


def test_adding_reads_no_value_from_the_device():
    """Meta tensors have no values: `.item()` on one raises."""
    Meter().add(
        {"a": torch.ones((), device="meta"), "b": torch.ones((), device="meta", dtype=torch.bfloat16)}, pairs=2
    )


def test_half_precision_is_summed_in_float32():
    meter = Meter()
    for _ in range(1000):
        meter.add({"a": torch.tensor(0.1, dtype=torch.bfloat16)}, pairs=1)
    assert meter.means(OneRank())["a"] == pytest.approx(float(torch.tensor(0.1, dtype=torch.bfloat16)), rel=1e-5)


def test_non_finite():
    logs = {"loss": 0.0, "logits": math.nan, "grad_norm": math.inf, "epoch": 1, "name": "x"}
    assert non_finite(logs) == ["logits", "grad_norm"]


def test_a_loss_that_is_not_finite_is_named_although_the_log_shows_zero(caplog, monkeypatch):
    """The Trainer's filter leaves a NaN out of its average; a user's own loss may hand back sound rewards with it."""
    monkeypatch.setattr(Trainer, "log", lambda self, logs, *args: None)
    meters = {"train": Meter(), "eval": Meter()}
    meters["train"].add({UNFILTERED: torch.tensor(math.nan), "rewards/margins": torch.tensor(0.5)}, pairs=2)
    trainer = SimpleNamespace(
        meters=meters, accelerator=OneRank(), eval_prefix="eval", state=SimpleNamespace(global_step=7)
    )
    logs = {"loss": 0.0}
    with caplog.at_level("WARNING", logger="llamafactory"):
        PreferenceTrainer.log(trainer, logs)
    assert logs == {"loss": 0.0, "rewards/margins": 0.5}, "the check itself is not logged"
    assert "Step 7: not finite: loss. The run is not learning." in caplog.text


def test_evaluation_sets_have_metrics_of_their_own(monkeypatch):
    monkeypatch.setattr(Trainer, "log", lambda self, logs, *args: None)
    trainer = SimpleNamespace(meters={"train": Meter(), "eval": Meter()}, accelerator=OneRank(), state=None)
    trainer.meters["eval"].add({"eval_rewards/margins": torch.tensor(0.5)}, pairs=2)
    trainer.eval_prefix = "eval_digits"
    logs = {"eval_digits_loss": 0.1}
    PreferenceTrainer.log(trainer, logs)
    assert logs == {"eval_digits_loss": 0.1, "eval_digits_rewards/margins": 0.5}


@pytest.fixture
def output_dir(tmp_path):
    lines = [{"loss": 1.0, "w_perf": 0.5, "step": s, "epoch": s / 2} for s in (1, 2)]
    history = [*lines, {"eval_loss": 1.0, "step": 2}, {"train_runtime": 1.0, "train_loss": 1.0, "step": 2}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    return tmp_path


def test_curves_are_what_was_logged(output_dir):
    assert curves(str(output_dir), ["loss", "rewards/accuracies", "eval_loss"]) == ["loss", "eval_loss", "w_perf"]


def test_a_png_for_each_curve_and_none_that_is_empty(output_dir):
    plot_loss(str(output_dir), keys=["loss", "rewards/accuracies"])
    assert sorted(path.name for path in output_dir.glob("*.png")) == ["training_loss.png", "training_w_perf.png"]
