# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The loss of reward models, by numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from resonance.losses import bradley_terry

CHOSEN, REJECTED = torch.tensor([2.0, 0.5], dtype=torch.float64), torch.tensor([1.0, 1.5], dtype=torch.float64)
GAP = torch.tensor([3.0, 0.5], dtype=torch.float64)


def minus_logsigmoid(x: float) -> float:
    return math.log1p(math.exp(-x))


def weight(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [minus_logsigmoid(1.0), minus_logsigmoid(-1.0)]),  # 0.3133, 1.3133
        ({"margin_scale": 0.5}, [minus_logsigmoid(-0.5), minus_logsigmoid(-1.25)]),  # 0.9741, 1.5019
        ({"weight_eta": 0.7}, [weight(2.1) * minus_logsigmoid(1.0), weight(0.35) * minus_logsigmoid(-1.0)]),
        (
            {"margin_scale": 2.0, "weight_eta": 1.0},
            [weight(3.0) * minus_logsigmoid(-5.0), weight(0.5) * minus_logsigmoid(-2.0)],
        ),
    ],
)
def test_values(params, expected):
    assert bradley_terry(CHOSEN, REJECTED, GAP, **params).tolist() == pytest.approx(expected, abs=1e-12)


def test_gradient_pushes_rewards_apart_and_less_where_they_are():
    chosen = CHOSEN.clone().requires_grad_()
    bradley_terry(chosen, REJECTED).sum().backward()
    assert chosen.grad.tolist() == pytest.approx([-weight(-1.0), -weight(1.0)], abs=1e-12)


def test_scores_are_needed_for_margin_and_weight():
    assert bradley_terry(CHOSEN, REJECTED).equal(bradley_terry(CHOSEN, REJECTED, GAP))
    with pytest.raises(ValueError, match="margin_scale=1 and weight_eta=0 need scores"):
        bradley_terry(CHOSEN, REJECTED, margin_scale=1.0)
