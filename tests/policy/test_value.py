# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The critic: its loss, its statistics, running moments; and the entropy bonus."""

from __future__ import annotations

import math

import pytest
import torch

from policy.conftest import as_float64
from resonance.policy import (
    Aggregation,
    RunningMoments,
    entropy_bonus,
    explained_variance,
    masked_moments,
    masked_whiten,
    value_clip_ratio,
    value_loss,
    value_moments,
)

ONE = torch.ones(1, 1)


@pytest.mark.parametrize(
    ("value", "old", "target", "clip", "loss", "slope"),
    [
        (1.0, 1.0, 3.0, 0.2, 2.0, -2.0),  # inside: half the squared error
        (
            2.0,
            1.0,
            3.0,
            0.2,
            1.62,
            0.0,
        ),  # moved too far towards the target: the clipped error is worse, and has no slope
        (0.0, 1.0, 3.0, 0.2, 4.5, -3.0),  # moved away: the plain error is worse
        (2.0, 1.0, 3.0, None, 0.5, -1.0),
    ],
)
def test_worked_by_hand(value, old, target, clip, loss, slope):
    values = as_float64([[value]]).requires_grad_()
    found = value_loss(
        values, as_float64([[old]]), as_float64([[target]]), ONE, cliprange_value=clip, aggregation="token-mean"
    )
    found.backward()
    assert found.item() == pytest.approx(loss) and values.grad.item() == pytest.approx(slope)


def test_only_the_critic_gets_a_gradient_and_padding_is_not_read(rollout):
    old, returns = (rollout[key].clone().requires_grad_() for key in ("old_values", "returns"))
    dirty = torch.where(rollout["mask"], rollout["values"], math.nan)
    loss = value_loss(dirty, old, returns, rollout["mask"], cliprange_value=0.2, aggregation="token-mean")
    loss.backward()
    assert old.grad is None and returns.grad is None
    assert torch.isfinite(loss) and torch.isfinite(rollout["values"].grad).all()


def test_half_precision_is_computed_in_float32():
    loss = value_loss(
        *[x * torch.ones(1, 1).bfloat16() for x in (300.0, 300.0, 1.0)],
        ONE,
        cliprange_value=0.2,
        aggregation="token-mean",
    )
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(0.5 * 299**2)


@pytest.mark.parametrize("wrong", [0, -0.2, math.nan])
def test_a_clip_range_must_be_positive(wrong):
    with pytest.raises(ValueError, match="cliprange_value=.* is not allowed, it must be a number > 0, or None"):
        value_loss(ONE, ONE, ONE, ONE, cliprange_value=wrong, aggregation="token-mean")


def test_shapes_are_named_all_at_once():
    with pytest.raises(ValueError, match=r"old_values must be .*got shape \(1, 2\); returns must be .*got NoneType"):
        value_loss(ONE, torch.ones(1, 2), None, ONE, cliprange_value=0.2, aggregation="token-mean")


def test_clip_ratio_and_explained_variance_over_ranks(rollout):
    mask, values, returns = rollout["mask"], rollout["values"], rollout["returns"]
    share = value_clip_ratio(
        values, rollout["old_values"], mask, cliprange_value=0.3, aggregation=Aggregation("token-mean")
    )
    assert share.item() == pytest.approx(((values - rollout["old_values"]).abs() > 0.3)[mask].float().mean().item())

    inside = returns[mask]
    expected = 1 - (inside - values[mask]).var() / inside.var()
    moments = value_moments(values[:5], returns[:5], mask[:5]) + value_moments(values[5:], returns[5:], mask[5:])
    for found in (explained_variance(values, returns, mask), explained_variance(values, returns, mask, moments)):
        assert found.item() == pytest.approx(expected.item(), abs=1e-12) and not found.requires_grad
    assert explained_variance(returns, returns, mask).item() == 1.0
    assert explained_variance(values, torch.ones(16, 11), mask).item() == 0.0


def test_the_entropy_bonus_lowers_the_loss_of_an_uncertain_policy():
    entropy = as_float64([[2.0, 1.0, math.nan]]).requires_grad_()
    bonus = entropy_bonus(entropy, torch.tensor([[1, 1, 0]]), entropy_coef=0.1, aggregation="token-mean")
    bonus.backward()
    assert bonus.item() == pytest.approx(-0.15) and entropy.grad.tolist() == [[-0.05, -0.05, 0.0]]


def test_whitening_may_keep_the_mean_as_llamafactory_does_for_rewards(rollout):
    x, mask = 5 + rollout["returns"], rollout["mask"]
    found = masked_whiten(x, mask, shift_mean=False)
    assert found[mask].mean().item() == pytest.approx(x[mask].mean().item(), abs=1e-12)
    assert found[mask].var().item() == pytest.approx(1, abs=1e-6) and not found[~mask].any()


def test_running_moments_scale_by_all_scores_so_far_and_survive_a_checkpoint():
    seen, running = as_float64([[1.0, 2.0, 4.0, 7.0]]), RunningMoments()
    for part in (seen[:, :1], seen[:, 1:]):
        running.update(masked_moments(part, torch.ones_like(part)))
    again = RunningMoments()
    again.load_state_dict(running.state_dict())
    expected = (seen - 3.5) / seen.std()
    torch.testing.assert_close(again.normalise(seen), expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="Not the state of running moments: {}"):
        again.load_state_dict({})
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        again.update(torch.zeros(2))


def test_the_variance_of_large_equal_numbers_is_not_below_0():
    x = torch.full((1, 7), 1e8 + 0.1, dtype=torch.float64)
    assert torch.isfinite(masked_whiten(x, torch.ones(1, 7))).all()
