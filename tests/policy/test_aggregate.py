# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Means go over the global batch: however it is cut into micro-batches and ranks, loss and gradient are the same."""

from __future__ import annotations

import pytest
import torch

from policy.conftest import as_float64
from resonance.policy import (
    AGGREGATIONS,
    POLICY_LOSSES,
    Aggregation,
    aggregate,
    counts,
    entropy_bonus,
    kl,
    policy_loss,
    value_loss,
)

# Rows of each micro-batch of each rank; two ranks need not have as many.
SPLITS = {
    "one": [[range(16)]],
    "single rows": [[[row] for row in range(16)]],
    "uneven": [[[0, 9], [1], range(2, 9)], [range(10, 16)]],
    "ranks": [[[row, row + 4] for row in range(4)], [[8, 15], [9, 10, 11, 12, 13, 14]]],
    "an idle rank": [[range(16)], [[]]],
}
HORIZON = 13


def a_loss(batch, how, name):
    """Everything that a step adds up: policy, KL, value and entropy terms."""
    output = policy_loss(name, batch["logps"], batch["old_logps"], batch["advantages"], batch["mask"], aggregation=how)
    divergence = aggregate(kl("k3", batch["logps"], batch["ref_logps"]), batch["mask"], how)
    critic = value_loss(
        batch["values"], batch["old_values"], batch["returns"], batch["mask"], cliprange_value=0.2, aggregation=how
    )
    bonus = entropy_bonus(-batch["logps"], batch["mask"], entropy_coef=0.01, aggregation=how)
    return output.loss + 0.05 * divergence + 0.1 * critic + bonus, output.stats


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("mode", AGGREGATIONS)
@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_any_split_gives_the_loss_the_gradient_and_the_statistics_of_the_whole(name, mode, split, rollout):
    whole, stats = a_loss(rollout, Aggregation(mode, horizon=HORIZON), name)
    whole.backward()
    expected = rollout["logps"].grad.clone(), rollout["values"].grad.clone()
    rollout["logps"].grad = rollout["values"].grad = None

    tokens, sequences = counts(rollout["mask"])
    ranks = len(split)
    # As a wrapper that averages gradients over ranks wants it.
    how = Aggregation(mode, tokens=tokens / ranks, sequences=sequences / ranks, horizon=HORIZON)
    total, seen = torch.tensor(0.0, dtype=torch.float64), dict.fromkeys(stats, 0.0)
    for rows in (rows for rank in split for rows in rank):
        rows = list(rows)
        batch = {key: value[rows] for key, value in rollout.items()}
        # A micro-batch is as wide as its longest row.
        width = int((batch["mask"].cumsum(1) * batch["mask"]).argmax(1).max()) + 1 if rows else 1
        loss, part = a_loss(
            {key: value[:, :width] if value.ndim == 2 else value for key, value in batch.items()}, how, name
        )
        (loss / ranks).backward()
        total = total + loss.detach() / ranks
        seen = {key: seen[key] + part[key].item() / ranks for key in seen}

    near = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(total, whole.detach(), **near)
    torch.testing.assert_close(rollout["logps"].grad, expected[0], **near)
    torch.testing.assert_close(rollout["values"].grad, expected[1], **near)
    # Statistics of bools are means of float32
    assert seen == pytest.approx({key: value.item() for key, value in stats.items()}, abs=1e-6)


def test_counts_leave_rows_without_a_token_out():
    assert [count.item() for count in counts(torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]]))] == [3, 2]


WORKED = [[1.0, 2.0, 9.0], [4.0, 9.0, 9.0], [9.0, 9.0, 9.0]], [[1, 1, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token-mean", 7 / 3),
        ("seq-mean-token-mean", (1.5 + 4) / 2),
        ("seq-mean-token-sum", (3 + 4) / 2),
        ("seq-mean-token-sum-norm", (3 + 4) / 2 / 3),
    ],
)
def test_worked_by_hand_with_a_row_that_has_no_token(mode, expected):
    x, mask = as_float64(WORKED[0]), torch.tensor(WORKED[1])
    for given in (mask, mask.bool(), mask.float()):
        assert aggregate(x, given, mode).item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("mode", AGGREGATIONS)
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_a_batch_without_a_token_has_loss_0_and_gradient_0(mode, shape):
    x = torch.full(shape, torch.nan, requires_grad=True)
    loss = aggregate(x, torch.zeros(shape), mode)
    loss.backward()
    assert loss.item() == 0.0 and not x.grad.any()


@pytest.mark.parametrize("mode", AGGREGATIONS)
def test_what_is_outside_the_mask_is_not_read(mode):
    x, mask = as_float64(WORKED[0]), torch.tensor(WORKED[1])
    expected = aggregate(x, mask, mode)
    dirty = torch.where(mask.bool(), x, torch.nan).requires_grad_()
    found = aggregate(dirty, mask, mode)
    found.backward()
    assert torch.equal(found, expected) and torch.isfinite(dirty.grad).all()


def test_half_precision_is_summed_in_float32():
    x = torch.full((1, 4096), 1.0 / 3, dtype=torch.bfloat16)
    found = aggregate(x, torch.ones(1, 4096), "token-mean")
    assert found.dtype == torch.float32 and found.item() == pytest.approx(x[0, 0].item(), abs=1e-6)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Aggregation("token_mean"), "Unknown aggregation 'token_mean' (nearest: token-mean"),
        (lambda: aggregate(torch.ones(1, 1), torch.ones(1, 1), None), "Unknown aggregation None"),
        (lambda: Aggregation("token-mean", sequences=4), "Give both counts of the global batch, tokens and sequences"),
        (lambda: Aggregation("token-mean", horizon=0), "horizon=0 is not allowed"),
        (lambda: Aggregation("seq-mean-token-sum-norm", 9, 4), "needs horizon, e.g. max_new_tokens"),
        (
            lambda: aggregate(torch.ones(2, 3), torch.ones(3, 2), "token-mean"),
            "x must be a tensor of the mask's shape",
        ),
        (lambda: aggregate(torch.ones(2), torch.ones(2), "token-mean"), "mask must be a tensor of shape (B, T)"),
    ],
)
def test_wrong_calls(make, expected):
    with pytest.raises(ValueError) as error:
        make()
    assert expected in str(error.value)
