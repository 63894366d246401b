# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Advantages beyond the gold numbers: holes, groups, parts, ranks, and input that is ugly or wrong."""

from __future__ import annotations

import math

import pytest
import torch

from policy.conftest import as_float64
from resonance.policy import ADVANTAGES, advantages, at_last_token, masked_moments, masked_whiten

GROUPED = ("grpo", "dr_grpo", "rloo", "reinforce_plus_plus_baseline", "gdpo")


def of(name, rollout, **params):
    rewards = at_last_token(rollout["rewards"], rollout["mask"])
    return advantages(name, rewards, rollout["mask"], group=rollout["group"], values=rollout["old_values"], **params)


def without_holes(x, mask):
    """Each row's tokens side by side from the left, and their mask."""
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    return x.gather(1, order), mask.gather(1, order)


@pytest.mark.parametrize("name", ["gae", "reinforce_plus_plus"])
def test_a_hole_is_no_step(name, rollout):
    """The next token of a token before a hole is the one behind it: as if the hole were not there."""
    params = {"gamma": 0.9, "whiten": False} | ({"lam": 0.8} if name == "gae" else {})
    mask = rollout["mask"]
    rewards = torch.where(mask, rollout["returns"], math.nan)
    values = torch.where(mask, rollout["old_values"], math.nan)
    assert (~mask[:, :-1] & mask[:, 1:]).any(), "there are holes"

    found, returns = advantages(name, rewards, mask, values=values, **params)

    plain_rewards, plain_mask = without_holes(rollout["returns"], mask)
    plain_values, _ = without_holes(rollout["old_values"], mask)
    expected = advantages(name, plain_rewards, plain_mask, values=plain_values, **params)
    for have, want in zip((found, returns), expected, strict=True):
        torch.testing.assert_close(without_holes(have, mask)[0], want, rtol=0, atol=1e-15)
        assert not have[~mask].any()


def test_gae_across_a_hole_worked_by_hand():
    rewards, values = as_float64([[1.0, 5.0, 2.0]]), as_float64([[0.5, 7.0, 0.25]])
    found, returns = advantages(
        "gae", rewards, torch.tensor([[1, 0, 1]]), values=values, gamma=0.5, lam=0.5, whiten=False
    )
    last = 2.0 - 0.25
    first = 1.0 + 0.5 * 0.25 - 0.5 + 0.5 * 0.5 * last
    assert found.tolist() == [[first, 0.0, last]]
    assert returns.tolist() == [[first + 0.5, 0.0, 2.0]]


@pytest.mark.parametrize("name", ADVANTAGES)
def test_a_row_without_a_token_takes_no_part_whatever_its_reward(name, rollout):
    mask = rollout["mask"].clone()
    mask[5] = False
    kept = torch.arange(16) != 5
    expected, _ = of(name, {key: value[kept] for key, value in rollout.items()})
    found, _ = of(name, rollout | {"mask": mask})
    torch.testing.assert_close(found[kept], expected, rtol=0, atol=1e-14)
    assert not found[5].any()


@pytest.mark.parametrize("name", ADVANTAGES)
def test_nothing_outside_the_mask_is_read(name, rollout):
    expected, returns = of(name, rollout)
    rewards = at_last_token(rollout["rewards"], rollout["mask"])
    dirty = torch.where(rollout["mask"], rewards, math.inf)
    values = torch.where(rollout["mask"], rollout["old_values"], math.nan)
    found = advantages(name, dirty, rollout["mask"].long(), group=rollout["group"], values=values)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=0)
    assert returns is None or torch.equal(found[1], returns)


@pytest.mark.parametrize("name", GROUPED)
def test_members_of_a_group_need_not_stand_side_by_side(name, rollout):
    order = rollout["group"].argsort(stable=True)
    assert rollout["group"].tolist() != rollout["group"][order].tolist()
    sorted_rows, _ = of(name, {key: value[order] for key, value in rollout.items()})
    torch.testing.assert_close(of(name, rollout)[0][order], sorted_rows, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", GROUPED)
def test_a_group_of_equal_rewards_has_exactly_0(name, rollout):
    """Three times 0.1 is not 0.3, and the rounded difference over the rounded deviation would be anything."""
    rewards = torch.where(rollout["group"] == 7, 0.1, rollout["rewards"]).float()
    found, _ = of(
        name, rollout | {"rewards": rewards}, **({} if "whiten" not in ADVANTAGES[name].params else {"whiten": False})
    )
    assert not found[rollout["group"] == 7].any() and found[rollout["group"] == 8].any()


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_grpo_with_all_groups_equal_is_0_also_without_eps(eps, rollout):
    assert not of("grpo", rollout | {"rewards": torch.full((16,), 0.7)}, eps=eps)[0].any()


def test_rloo_is_the_reward_less_the_mean_of_the_others(rollout):
    found, _ = of("rloo", rollout)
    for row in range(16):
        others = (rollout["group"] == rollout["group"][row]) & (torch.arange(16) != row)
        expected = rollout["rewards"][row] - rollout["rewards"][others].mean()
        torch.testing.assert_close(found[row, 0], expected, rtol=0, atol=1e-14)


def test_gdpo_of_one_reward_is_grpo_whitened(rollout):
    grpo, _ = of("grpo", rollout)
    torch.testing.assert_close(of("gdpo", rollout)[0], masked_whiten(grpo, rollout["mask"]), rtol=0, atol=1e-14)


def test_gdpo_leaves_a_reward_that_is_nan_out_for_that_completion(rollout):
    second = rollout["returns"][:, 0].clone()
    second[2] = math.nan
    parts = torch.stack([rollout["rewards"], second], 1)
    found, _ = advantages(
        "gdpo", at_last_token(parts, rollout["mask"]), rollout["mask"], group=rollout["group"], whiten=False
    )
    here = (rollout["group"] == rollout["group"][2]).nonzero().flatten()
    first_part = rollout["rewards"][here]
    alone = (rollout["rewards"][2] - first_part.mean()) / (first_part.std() + 1e-6)
    torch.testing.assert_close(found[2, 0], alone, rtol=0, atol=1e-14)
    other = here[here != 2]
    mean, std = second[other].mean(), second[other].std()
    both = (rollout["rewards"][other] - first_part.mean()) / (first_part.std() + 1e-6)
    torch.testing.assert_close(found[other, 0], both + (second[other] - mean) / (std + 1e-6), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["gae", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "gdpo"])
def test_whitening_over_ranks_is_whitening_of_the_whole(name, rollout):
    expected, _ = of(name, rollout)
    plain, _ = of(name, rollout, whiten=False)
    mask = rollout["mask"]
    ranks = (range(5), range(5, 16))
    moments = sum(masked_moments(plain[list(rows)], mask[list(rows)]) for rows in ranks)
    found = torch.cat([masked_whiten(plain[list(rows)], mask[list(rows)], moments) for rows in ranks])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert found[mask].mean().item() == pytest.approx(0, abs=1e-12)
    assert found[mask].std().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ADVANTAGES)
def test_half_precision_is_computed_in_float32(name, rollout):
    half = {key: value.detach().bfloat16() if value.is_floating_point() else value for key, value in rollout.items()}
    found, _ = of(name, half)
    single, _ = of(
        name, {key: value.float() if value.dtype == torch.bfloat16 else value for key, value in half.items()}
    )
    assert found.dtype == torch.float32 and torch.equal(found, single)


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4, 3)])
def test_a_batch_without_a_token_has_no_advantages(name, shape):
    found, returns = advantages(
        name,
        torch.ones(shape),
        torch.zeros(shape),
        group=torch.zeros(shape[0], dtype=torch.long),
        values=torch.ones(shape),
    )
    assert found.shape == shape and not found.any()
    assert returns is None or (returns.shape == shape and not returns.any())


@pytest.mark.parametrize("name", ADVANTAGES)
def test_no_gradient_leaves(name, rollout):
    values = rollout["old_values"].clone().requires_grad_()
    rewards = at_last_token(rollout["rewards"], rollout["mask"]).requires_grad_()
    found, returns = advantages(name, rewards, rollout["mask"], group=rollout["group"], values=values)
    assert not found.requires_grad and (returns is None or not returns.requires_grad)


@pytest.mark.parametrize("name", GROUPED)
def test_a_group_of_one_is_refused_by_number_and_row(name, rollout):
    group = rollout["group"].clone()
    group[6] = 99
    with pytest.raises(ValueError) as error:
        of(name, rollout | {"group": group})
    text = str(error.value)
    assert f"Advantage '{name}'" in text and "row 6 is the only one of its group (group 99)" in text
    assert "num_generations" in text and "reinforce_plus_plus" in text


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_not_finite_are_refused_with_their_rows(name, bad, rollout):
    rewards = at_last_token(rollout["rewards"], rollout["mask"])
    rewards[3, 0] = rewards[11, 0] = bad
    with pytest.raises(ValueError, match=rf"token_rewards must be finite: rows 3, 11 are not, first {bad!r}"):
        advantages(name, rewards, rollout["mask"], group=rollout["group"], values=rollout["old_values"])


def test_many_bad_rows_are_counted_and_values_are_named_too(rollout):
    rewards = torch.full((16, 11), math.nan)
    values = torch.full((16, 11), math.inf)
    with pytest.raises(ValueError) as error:
        advantages("gae", rewards, rollout["mask"], values=values)
    assert "token_rewards must be finite: rows 0, 1, 2, 3, 4 and 11 more are not, first nan" in str(error.value)
    assert "values must be finite: rows 0, 1, 2, 3, 4 and 11 more are not, first inf" in str(error.value)


def test_a_completion_without_any_reward_is_refused_where_they_are_kept_apart(rollout):
    parts = torch.stack([rollout["rewards"], rollout["rewards"]], 1)
    parts[4] = math.nan
    with pytest.raises(ValueError, match="row 4 is without any reward .*set its mask to 0"):
        advantages("gdpo", at_last_token(parts, rollout["mask"]), rollout["mask"], group=rollout["group"])


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("gae", {"values": None}, "needs values, the critic's (B, T)"),
        ("grpo", {"group": None}, "needs group, (B,) numbers that are equal for completions of one prompt"),
        (
            "grpo",
            {"group": torch.zeros(15, dtype=torch.long)},
            "group must be a tensor of whole numbers of shape (B,)",
        ),
        ("grpo", {"group": torch.zeros(16)}, "got shape (16,), torch.float32"),
        ("grpo", {"token_rewards": torch.zeros(16)}, "token_rewards must be a tensor of the mask's shape"),
        ("grpo", {"token_rewards": torch.zeros(16, 11, 2)}, "token_rewards must be a tensor of the mask's shape"),
        ("gae", {"values": torch.zeros(16, 10)}, "values must be a tensor of the mask's shape (B, T) = (16, 11)"),
        ("gae", {"mask": torch.zeros(16)}, "mask must be a tensor of shape (B, T), got shape (16,)"),
        ("gdpo", {"weights": [1.0, 2.0]}, "has 2 weights for 1 rewards"),
        ("gae", {"gamma": 1.1}, "gamma=1.1 is not allowed, it must be a number 0 <= x <= 1"),
        ("gae", {"lambda_": 1}, "gae has no parameter 'lambda_' (nearest: lam"),
        ("grpo", {"eps": -1e-6}, "eps=-1e-06 is not allowed, it must be a finite number >= 0"),
        ("grppo", {}, "Unknown advantage 'grppo' (nearest: grpo"),
    ],
)
def test_wrong_calls(name, change, expected, rollout):
    call = {
        "token_rewards": at_last_token(rollout["rewards"], rollout["mask"]),
        "mask": rollout["mask"],
        "group": rollout["group"],
        "values": rollout["old_values"],
    }
    with pytest.raises(ValueError) as error:
        advantages(name, **call | change)
    assert expected in str(error.value)


def test_whitening_a_single_token_is_refused():
    with pytest.raises(ValueError, match="at least two tokens.*whiten=False"):
        advantages("reinforce_plus_plus", torch.ones(1, 3), torch.tensor([[0, 1, 0]]))


def test_the_reward_goes_to_the_last_token():
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    assert at_last_token(torch.tensor([1.0, math.nan, 3.0]), mask).tolist() == [[0, 0, 1, 0], [0] * 4, [0, 0, 0, 3]]
    parts = at_last_token(torch.tensor([[1.0, 2.0], [0, 0], [3.0, 4.0]]), mask)
    assert parts.shape == (3, 4, 2) and parts[2, 3].tolist() == [3, 4] and parts.sum() == 10
    with pytest.raises(ValueError, match=r"got shape \(2,\) and shape \(3, 4\)"):
        at_last_token(torch.ones(2), mask)
