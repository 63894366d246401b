# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Weights of tokens that were sampled with other probabilities, and DAPO's penalty for length."""

from __future__ import annotations

import math

import pytest
import torch

from policy.conftest import as_float64
from resonance.policy import overlong_penalty, rollout_correction

DIFFERENCE = as_float64([[math.log(4), math.log(0.25), math.log(1.5)], [math.log(0.5), math.log(8), 0.0]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 1]])


def of(**settings):
    return rollout_correction(DIFFERENCE, torch.zeros(2, 3), MASK, **settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [[2, 0.25, 1.5], [0.5, 0, 1]]),
        ({"threshold": 5}, [[4, 0.25, 1.5], [0.5, 0, 1]]),
        ({"mode": "mask"}, [[0, 0, 1.5], [0.5, 0, 1]]),
        ({"mode": "mask", "threshold": 4, "threshold_low": 0.0}, [[4, 0.25, 1.5], [0.5, 0, 1]]),
        ({"level": "sequence"}, [[1.5] * 3, [0.5, 0, 0.5]]),
        ({"level": "sequence", "threshold": 1.2}, [[1.2] * 3, [0.5, 0, 0.5]]),
        ({"level": "sequence", "mode": "mask", "threshold": 1.2}, [[0] * 3, [0] * 3]),
    ],
)
def test_worked_by_hand(settings, expected):
    torch.testing.assert_close(of(**settings).weights, as_float64(expected), rtol=0, atol=1e-14)


def test_statistics():
    stats = {name: value.item() for name, value in of(mode="mask").stats.items()}
    weights = [0, 0, 1.5, 0.5, 1]
    assert stats["rollout/dropped"] == pytest.approx(2 / 5)
    assert stats["rollout/ess"] == pytest.approx(sum(weights) ** 2 / (5 * sum(w * w for w in weights)))
    differences = [math.log(4), math.log(4), math.log(1.5), math.log(2), 0]
    assert stats["rollout/logp_diff"] == pytest.approx(sum(differences) / 5)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("mode", ["truncate", "mask"])
def test_an_engine_that_agrees_has_weights_of_1(level, mode, rollout):
    found = rollout_correction(rollout["logps"], rollout["logps"], rollout["mask"], level=level, mode=mode)
    assert torch.equal(found.weights, rollout["mask"].double()) and not found.weights.requires_grad
    assert [value.item() for value in found.stats.values()] == [1.0, 0.0, 0.0]


def test_nothing_outside_the_mask_is_read_and_far_apart_it_stays_finite():
    logps = torch.tensor([[-900.0, math.nan]], dtype=torch.bfloat16)
    found = rollout_correction(logps, torch.tensor([[0.0, math.inf]]), torch.tensor([[1, 0]]), level="sequence")
    assert found.weights.dtype == torch.float32 and torch.isfinite(found.weights).all()
    empty = rollout_correction(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, 2))
    assert all(value.item() == 0.0 for value in empty.stats.values())


def test_everything_wrong_is_reported_at_once():
    with pytest.raises(ValueError) as error:
        of(level="tokens", mode="clip", threshold=0.5, threshold_low=2)
    for part in (
        "unknown level 'tokens' (nearest: token",
        "unknown mode 'clip' (mask, truncate)",
        "threshold=0.5 is not allowed, it must be a number >= 1",
        "threshold_low=2 is not allowed",
    ):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="threshold_low=0.5 is not allowed.* and mode 'mask'"):
        of(threshold_low=0.5)
    with pytest.raises(ValueError, match="rollout_logps must be a tensor of the mask's shape"):
        rollout_correction(DIFFERENCE, torch.zeros(2), MASK)


def test_overlong_penalty_of_dapo():
    lengths = torch.tensor([1, 80, 81, 90, 100, 250])
    found = overlong_penalty(lengths, max_length=100, cache=20)
    assert found.tolist() == pytest.approx([0, 0, -0.05, -0.5, -1, -1])
    assert overlong_penalty(lengths, max_length=100, cache=20, penalty=0.5)[4] == -0.5


@pytest.mark.parametrize("wrong", [{"cache": 0}, {"cache": 101}, {"penalty": -1}, {"max_length": 0}])
def test_overlong_penalty_refuses(wrong):
    with pytest.raises(ValueError, match="are not allowed: they must be 0 < cache <= max_length and penalty >= 0"):
        overlong_penalty(torch.ones(1), **{"max_length": 100, "cache": 20} | wrong)
