# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""BCO's delta is one number on all ranks: the mean reward of all their batches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from resonance.training.resume import BaselineCallback


class TwoRanks:
    """An accelerator whose other rank always has the reward 3."""

    num_processes = 2

    def reduce(self, tensor, kind):
        assert kind == "mean"
        return (tensor + 3.0) / 2


def test_batches_of_all_ranks_count():
    baseline, ranks = BaselineCallback(), TwoRanks()
    assert float(baseline.delta(torch.tensor(1.0), ranks, update=True)) == 2.0
    assert float(baseline.delta(torch.tensor(5.0), ranks, update=True)) == pytest.approx((1 + 3 + 5 + 3) / 4)
    assert baseline.running.count == 4


def test_an_evaluation_uses_the_mean_and_does_not_change_it():
    baseline, ranks = BaselineCallback(), TwoRanks()
    baseline.delta(torch.tensor(1.0), ranks, update=True)
    for _ in range(2):
        assert float(baseline.delta(torch.tensor(100.0), ranks, update=False)) == 2.0


@pytest.mark.parametrize(("step", "expected"), [(1, (1 + 3 + 5 + 3) / 4), (0, 4.0)], ids=["resumed", "from the start"])
def test_a_resumed_run_continues_the_mean(step, expected):
    """From the state in the checkpoint, where Transformers has put it; a run that does not resume begins anew."""
    saved, ranks = BaselineCallback(), TwoRanks()
    saved.delta(torch.tensor(1.0), ranks, update=True)
    state = SimpleNamespace(global_step=step, stateful_callbacks={"BaselineCallback": saved.state()})
    baseline = BaselineCallback()
    baseline.on_train_begin(None, state, None)
    assert float(baseline.delta(torch.tensor(5.0), ranks, update=True)) == pytest.approx(expected)
