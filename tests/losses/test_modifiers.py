# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is mixed into a loss, BCO's running mean, and ranges of numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from resonance.losses import Range, RunningMean, add_sft, mix_bco, preference_loss


def test_add_sft_and_mix_bco_by_hand():
    losses = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert add_sft(losses, torch.tensor([-0.5, -3.0]), 0.5).tolist() == [1.25, 3.5]
    assert mix_bco(losses, torch.tensor([3.0, 0.0]), 0.25).tolist() == [1.4, 1.6]
    assert losses.tolist() == [1.0, 2.0]  # not changed in place


def test_mpo_is_eight_parts_preference_two_parts_quality(gold):
    batch = gold("sum")
    dpo, bco = preference_loss("sigmoid", **batch).losses, preference_loss("bco_pair", **batch).losses
    torch.testing.assert_close(mix_bco(dpo, bco, 0.25), 0.8 * dpo + 0.2 * bco)


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "1", None, True])
def test_weights_out_of_range_are_refused_with_the_value(weight):
    losses = torch.ones(2)
    with pytest.raises(ValueError, match=rf"ftx_gamma={weight!r} .* finite number >= 0"):
        add_sft(losses, losses, weight)
    with pytest.raises(ValueError, match=rf"bco_weight={weight!r} .* finite number >= 0"):
        mix_bco(losses, losses, weight)


def test_running_mean_is_the_mean_of_all_values_this_one_included():
    running = RunningMean()
    assert [running.update(value) for value in (2.0, 4.0, 9.0)] == [2.0, 3.0, 5.0]


def test_running_mean_over_ranks_equals_one_rank_that_saw_all():
    one, two = RunningMean(), RunningMean()
    for first, second in ((1.0, 5.0), (2.0, -7.0)):
        one.update(first)
        one.update(second)
        two.update((first + second) / 2, count=2)
    assert two.mean == pytest.approx(one.mean) and two.count == one.count == 4


def test_running_mean_keeps_tensors_off_the_graph_and_precise():
    running = RunningMean()
    for value in (0.1, 0.2, 0.4):
        mean = running.update(torch.tensor([value], dtype=torch.bfloat16, requires_grad=True))
    assert isinstance(mean, torch.Tensor) and mean.shape == () and mean.dtype == torch.float64
    assert not mean.requires_grad
    # and does not change the type of a loss in lower precision
    logps = torch.full((1,), -1.0)
    assert preference_loss("bco_pair", logps, logps, logps, logps, delta=mean).losses.dtype == torch.float32


def test_running_mean_goes_on_exactly_after_a_checkpoint():
    values = torch.rand(20, generator=torch.Generator().manual_seed(0))
    whole, first = RunningMean(), RunningMean()
    for value in values:
        whole.update(value)
    for value in values[:7]:
        first.update(value)
    resumed = RunningMean()
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for value in values[7:]:
        resumed.update(value)
    assert float(resumed.mean) == float(whole.mean) and resumed.count == whole.count


def test_running_mean_refuses_what_it_cannot_average():
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        RunningMean().update(torch.ones(2))
    with pytest.raises(ValueError, match="count=0"):
        RunningMean().update(1.0, count=0)
    with pytest.raises(ValueError, match="Not the state of a running mean.*expected 'mean' and 'count'"):
        RunningMean().load_state_dict({"mean": 1.0})


@pytest.mark.parametrize(
    ("allowed", "text", "inside", "outside"),
    [
        (Range(), "a finite number", [-3, 0.5, np.float32(1)], [math.inf, math.nan, "1", None, True, torch.ones(1)]),
        (Range(low=0.0, low_open=True), "a finite number > 0", [1e-9, 1], [0, -1.0]),
        (Range(high=1.0), "a finite number <= 1", [1, -5], [1.1]),
        (Range(low=0.0, high=0.5, high_open=True), "a number 0 <= x < 0.5", [0, 0.49], [0.5, -0.01]),
        (Range(low=0.0, note="why"), "a finite number >= 0 (why)", [0], [-1]),
        (Range(tensor=True), "a finite number", [0.0, torch.tensor(1.0), torch.ones(1)], [torch.ones(2), "x"]),
    ],
)
def test_range(allowed, text, inside, outside):
    assert str(allowed) == text
    assert all(allowed.allows(value) for value in inside)
    assert not any(allowed.allows(value) for value in outside)
