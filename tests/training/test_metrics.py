# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Meters and curves, with numbers small enough to check by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler
from transformers import Trainer

from resonance.losses.metrics import accuracies
from resonance.training import meters
from resonance.training.curves import plot_loss
from resonance.training.meters import LOSS, BatchResult, Meter, MeteredTrainer, non_finite, own_rows


@pytest.fixture
def other_rank(monkeypatch):
    """A second rank that has added one row with the values in it; the list of exchanges."""
    values, exchanges = {}, []

    def gather(mine):
        exchanges.append(mine)
        return [*mine, {name: (value, 1) for name, value in values.items()}]

    monkeypatch.setattr(meters, "gather_object", gather)
    return values, exchanges


def test_means_over_the_rows_of_all_ranks_in_one_exchange(other_rank):
    values, exchanges = other_rank
    values |= {"a": 5.0, "b": 5.0}
    meter = Meter()
    meter.add({"a": torch.tensor(1.0), "b": torch.tensor(10.0)}, 2)
    meter.add({"a": torch.tensor(3.0), "b": torch.tensor(30.0)}, 1)
    assert meter.means() == {"a": (2 + 3 + 5) / 4, "b": (20 + 30 + 5) / 4}
    assert len(exchanges) == 1


def test_a_name_that_some_ranks_or_batches_lack_is_a_mean_over_those_that_have_it(other_rank):
    """As rewards by function, of which a rank may have drawn no row."""
    values, exchanges = other_rank
    values |= {"theirs": 7.0, "both": 2.0}
    meter = Meter()
    meter.add({"both": torch.tensor(1.0), "mine": torch.tensor(4.0)}, 2)
    meter.add({"both": torch.tensor(6.0)}, 1)
    assert meter.means() == {"both": (2 + 6 + 2) / 4, "mine": 4.0, "theirs": 7.0}
    assert meter.means() == {"theirs": 7.0, "both": 2.0} and len(exchanges) == 2, "a rank with nothing takes part"


def test_a_short_last_batch_weighs_what_it_holds():
    """7 pairs, 6 of them right: the accuracy is 6/7 whatever the batch size."""
    right = torch.tensor([1.0, 1, 1, 0, 1, 1, 1])
    for size in (1, 4, 7):
        meter = Meter()
        for batch in right.split(size):
            meter.add({"accuracy": batch.mean()}, len(batch))
        assert meter.means()["accuracy"] == pytest.approx(6 / 7)


@pytest.mark.parametrize("rows", [1, 5, 7, 8, 9, 16])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_rows_that_fill_up_the_batches_of_ranks_are_not_counted(rows, size):
    """As Accelerate hands them out: each row of the set counts once, and what is left out are repetitions."""
    sampler = BatchSampler(range(rows), size, drop_last=False)
    seen = []
    for rank in range(2):
        batches = BatchSamplerShard(sampler, num_processes=2, process_index=rank)
        for batch, own in zip(batches, own_rows(rows, size, 2, rank), strict=False):
            seen += batch[:own]
    assert sorted(seen) == list(range(rows))


def test_a_batch_of_repetitions_is_not_measured():
    meter = Meter()
    meter.add({"a": torch.tensor(4.0)}, 0)
    assert meter.means() == {}


def test_the_loss_of_an_evaluation_is_a_mean_over_rows(nothing_else):
    trainer = Measuring()
    for loss, rows in ((1.0, 32), (5.0, 8)):
        trainer.meters["eval"].add({LOSS: torch.tensor(loss)}, rows)
    logs = {"eval_loss": 3.0}
    trainer.log(logs)
    assert logs == {"eval_loss": pytest.approx((32 + 40) / 40)}


def test_accuracies_mean_the_same_whatever_the_loss_is():
    policy = torch.tensor([-1.0, -3.0, -2.0]), torch.tensor([-2.0, -2.0, -2.0])
    reference = torch.tensor([-1.0, -6.0, -2.5]), torch.tensor([-3.0, -4.0, -2.0])
    found = {name: values.tolist() for name, values in accuracies(policy, reference).items()}
    assert found == {"accuracies/policy": [1, 0, 0], "accuracies/reference": [0, 1, 1]}
    assert set(accuracies(policy, None)) == {"accuracies/policy"}


def test_a_meter_starts_anew_after_it_was_read():
    meter = Meter()
    meter.add({"a": torch.tensor(4.0)}, 3)
    meter.means()
    assert meter.means() == {}
    meter.add({"a": torch.tensor(8.0)}, 1)
    assert meter.means() == {"a": 8.0}


def test_adding_reads_no_value_from_the_device():
    """Meta tensors have no values: `.item()` on one raises."""
    Meter().add({"a": torch.ones((), device="meta"), "b": torch.ones((), device="meta", dtype=torch.bfloat16)}, 2)


def test_half_precision_is_summed_in_float32():
    meter = Meter()
    for _ in range(1000):
        meter.add({"a": torch.tensor(0.1, dtype=torch.bfloat16)}, 1)
    assert meter.means()["a"] == pytest.approx(float(torch.tensor(0.1, dtype=torch.bfloat16)), rel=1e-5)


def test_non_finite():
    logs = {"loss": 0.0, "logits": math.nan, "grad_norm": math.inf, "epoch": 1, "name": "x"}
    assert non_finite(logs) == ["logits", "grad_norm"]


class Measuring(MeteredTrainer):
    """A trainer without a model: what is measured, and what is logged."""

    def __init__(self, result=None):
        self.meters = {"train": Meter(), "eval": Meter()}
        self.eval_prefix, self.state = "eval", SimpleNamespace(global_step=7)
        self.result, self.splits = result, []

    def loss_of(self, model, batch, split):
        self.splits.append(split)
        return self.result


@pytest.fixture
def nothing_else(monkeypatch):
    """The Trainer's own log does nothing."""
    monkeypatch.setattr(Trainer, "log", lambda self, logs, *args: None)


def test_a_loss_that_is_not_finite_is_named_although_the_log_shows_zero(caplog, nothing_else):
    """The Trainer's filter leaves a NaN out of its average; a user's own loss may hand back sound rewards with it."""
    trainer = Measuring()
    trainer.meters["train"].add({LOSS: torch.tensor(math.nan), "rewards/margins": torch.tensor(0.5)}, 2)
    logs = {"loss": 0.0}
    with caplog.at_level("WARNING", logger="llamafactory"):
        trainer.log(logs)
    assert logs == {"loss": 0.0, "rewards/margins": 0.5}, "the check itself is not logged"
    assert "Step 7: not finite: loss. The run is not learning." in caplog.text


def test_evaluation_sets_have_metrics_of_their_own(nothing_else):
    trainer = Measuring()
    trainer.meters["eval"].add({"rewards/margins": torch.tensor(0.5)}, 2)
    trainer.eval_prefix = "eval_digits"
    logs = {"eval_digits_loss": 0.1}
    trainer.log(logs)
    assert logs == {"eval_digits_loss": 0.1, "eval_digits_rewards/margins": 0.5}


def test_what_the_trainer_calls_measures_each_batch(nothing_else):
    loss = torch.tensor(2.0, requires_grad=True)
    trainer = Measuring(BatchResult(loss, {"margins": torch.tensor(1.0)}, 3))
    assert trainer.compute_loss(None, {}) is loss
    found, outputs = trainer.compute_loss(None, {}, return_outputs=True, num_items_in_batch=None)
    assert found is loss and outputs == {"margins": torch.tensor(1.0)}
    assert trainer.prediction_step(None, {}, True) == (loss, None, None)
    assert trainer.splits == ["train", "train", "eval"]
    train, evaluation = {"loss": 2.0}, {"eval_loss": 2.0}
    trainer.log(train)
    trainer.log(evaluation)
    assert train == {"loss": 2.0, "margins": 1.0} and evaluation == {"eval_loss": 2.0, "eval_margins": 1.0}


@pytest.fixture
def output_dir(tmp_path):
    lines = [{"loss": 1.0, "w_perf": 0.5, "step": s, "epoch": s / 2} for s in (1, 2)]
    history = [*lines, {"eval_loss": 1.0, "step": 2}, {"train_runtime": 1.0, "train_loss": 1.0, "step": 2}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    return tmp_path


def test_the_pictures_are_those_of_llamafactory_and_one_page(output_dir):
    plot_loss(str(output_dir), keys=["loss", "rewards/accuracies"])
    assert sorted(path.name for path in output_dir.glob("*.png")) == ["curves.png", "training_loss.png"]
