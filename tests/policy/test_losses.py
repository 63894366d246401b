# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Policy losses beyond the gold numbers: the clip, the first minibatch, what each loss does to the gradient."""

from __future__ import annotations

import math

import pytest
import torch

from policy.conftest import as_float64
from resonance.policy import POLICY_LOSSES, TokenLosses, policy_loss

MEAN = "token-mean"


def of(name, batch, aggregation=MEAN, **params):
    tensors = (batch[key] for key in ("logps", "old_logps", "advantages", "mask"))
    return policy_loss(name, *tensors, aggregation=aggregation, **params)


def gradient(name, batch, aggregation=MEAN, **params):
    batch["logps"].grad = None
    of(name, batch, aggregation, **params).loss.backward()
    return batch["logps"].grad


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_on_the_first_minibatch_the_ratio_is_exactly_1_and_the_gradient_is_reinforce(name, rollout):
    """Also where log-probs are coarse: in bfloat16 the same number less itself is 0."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        logps = rollout["old_logps"].clone().to(dtype).requires_grad_()
        batch = rollout | {"logps": logps, "old_logps": logps.detach()}
        batch["advantages"] = rollout["advantages"][:, :1].expand(16, 11).to(dtype)
        output = of(name, batch)
        assert output.stats["ratio"].item() == pytest.approx(1.0, abs=1e-7) and output.stats["approx_kl"].item() == 0.0
        assert all(not output.stats.get(f"clip_ratio/{side}", torch.tensor(0.0)) for side in ("low", "high", "region"))
        expected = torch.where(rollout["mask"], -batch["advantages"], 0) / rollout["mask"].sum()
        torch.testing.assert_close(
            gradient(name, batch), expected.to(dtype), rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-12
        )


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope", "clipped"),
    [
        (1.1, 1.0, -1.1, -1.1, ""),
        (1.3, 1.0, -1.2, 0.0, "high"),
        (0.5, 1.0, -0.5, -0.5, ""),
        (1.3, -1.0, 1.3, 1.3, ""),
        (0.5, -1.0, 0.8, 0.0, "low"),
        (5.0, -1.0, 3.0, 0.0, "dual"),
        (5.0, 1.0, -1.2, 0.0, "high"),
    ],
)
def test_ppo_clip_worked_by_hand(ratio, advantage, loss, slope, clipped):
    logps = as_float64([[math.log(ratio)]]).requires_grad_()
    output = policy_loss(
        "ppo_clip",
        logps,
        torch.zeros_like(logps),
        as_float64([[advantage]]),
        torch.ones(1, 1),
        aggregation=MEAN,
        dual_clip=3.0,
    )
    output.loss.backward()
    assert output.loss.item() == pytest.approx(loss) and logps.grad.item() == pytest.approx(slope)
    sides = {side for side in ("low", "high", "dual") if output.stats[f"clip_ratio/{side}"]}
    assert sides == ({clipped} if clipped else set())
    assert bool(output.stats["clip_ratio/region"]) == (clipped in ("low", "high"))


def test_without_dual_clip_a_large_ratio_on_a_bad_token_has_no_bound():
    logps = as_float64([[math.log(5)]])
    call = (logps, torch.zeros_like(logps), as_float64([[-1.0]]), torch.ones(1, 1))
    output = policy_loss("ppo_clip", *call, aggregation=MEAN)
    assert output.loss.item() == pytest.approx(5.0) and "clip_ratio/dual" not in output.stats
    assert policy_loss("ppo_clip", *call, aggregation=MEAN, dual_clip=None).loss.item() == output.loss.item()


def test_gspo_and_gspo_token_agree_where_a_sequence_has_one_advantage_and_only_there(rollout):
    same = rollout | {"advantages": rollout["advantages"][:, :1].expand(16, 11)}
    wide = {"clip_low": 0.5, "clip_high": 0.5}
    for aggregation in ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum"):
        expected = gradient("gspo", same, aggregation, **wide).clone()
        torch.testing.assert_close(gradient("gspo_token", same, aggregation, **wide), expected, rtol=0, atol=1e-15)
    assert not torch.allclose(gradient("gspo", rollout, **wide).clone(), gradient("gspo_token", rollout, **wide))


def test_gspo_clips_all_tokens_of_a_sequence_together(rollout):
    output = of("gspo", rollout | {"advantages": torch.ones(16, 11)})
    ratio = torch.where(rollout["mask"], rollout["logps"] - rollout["old_logps"], 0).sum(1) / rollout["mask"].sum(1)
    clipped = rollout["mask"].sum(1)[ratio.exp() > 1.0004].sum() / rollout["mask"].sum()
    assert output.stats["clip_ratio/high"].item() == pytest.approx(clipped.item())


def test_cispo_keeps_the_gradient_of_tokens_that_ppo_drops(rollout):
    far = rollout | {"old_logps": rollout["old_logps"] - 1, "advantages": torch.ones(16, 11)}
    dropped = (gradient("ppo_clip", far) == 0) & rollout["mask"]
    weights = (far["logps"] - far["old_logps"]).exp().clamp(max=1.28) / rollout["mask"].sum()
    found = gradient("cispo", far, clip_high=0.28)
    assert dropped.any()
    torch.testing.assert_close(found, torch.where(rollout["mask"], -weights, 0).detach(), rtol=0, atol=1e-15)


def test_sapo_weighs_a_token_less_the_further_its_ratio_is_from_1():
    slopes = []
    for ratio in (1.0, 1.5, 2.0, 4.0):
        logps = as_float64([[math.log(ratio)]]).requires_grad_()
        policy_loss(
            "sapo", logps, torch.zeros_like(logps), as_float64([[1.0]]), torch.ones(1, 1), aggregation=MEAN
        ).loss.backward()
        slopes.append(-logps.grad.item() / ratio)
    assert slopes[0] == pytest.approx(1.0) and slopes == sorted(slopes, reverse=True) and slopes[-1] < 0.2


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_what_is_outside_the_mask_is_not_read_and_gets_no_gradient(name, rollout):
    expected, grad = of(name, rollout), gradient(name, rollout).clone()
    dirty = {
        key: torch.where(rollout["mask"], rollout[key].detach(), fill)
        for key, fill in (("logps", -math.inf), ("old_logps", math.nan), ("advantages", math.inf))
    }
    dirty["logps"].requires_grad_()
    batch = rollout | dirty | {"mask": rollout["mask"].float()}
    found = of(name, batch)
    assert torch.equal(found.loss, expected.loss) and torch.equal(gradient(name, batch), grad)
    assert {key: value.item() for key, value in found.stats.items()} == {
        key: value.item() for key, value in expected.stats.items()
    }


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_far_log_probs_stay_finite_in_half_precision(name):
    logps = torch.tensor([[-0.5, -300.0, -0.5]], dtype=torch.bfloat16, requires_grad=True)
    old = torch.tensor([[-300.0, -0.5, -0.5]], dtype=torch.bfloat16)
    for sign in (1.0, -1.0):
        logps.grad = None
        output = policy_loss(name, logps, old, sign * torch.ones(1, 3), torch.ones(1, 3), aggregation=MEAN)
        output.loss.backward()
        assert output.loss.dtype == torch.float32 and torch.isfinite(output.loss) and torch.isfinite(logps.grad).all()


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_weights_of_a_correction_multiply_the_losses_and_have_no_gradient(name, rollout):
    weights = rollout["returns"].clone().requires_grad_()
    found = gradient(name, rollout, weights=weights).clone()
    if name not in ("gspo",):  # whose tokens share their gradient
        torch.testing.assert_close(found, gradient(name, rollout) * weights.detach(), rtol=0, atol=1e-15)
    assert weights.grad is None
    assert of(name, rollout, weights=torch.zeros(16, 11)).loss.item() == 0.0


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_only_the_policy_gets_a_gradient_and_statistics_are_detached(name, rollout):
    inputs = {key: rollout[key].clone().requires_grad_() for key in ("old_logps", "advantages")}
    output = of(name, rollout | inputs)
    output.loss.backward()
    assert inputs["old_logps"].grad is None and inputs["advantages"].grad is None
    assert output.loss.shape == () and rollout["logps"].grad is not None
    assert all(value.shape == () and not value.requires_grad for value in output.stats.values())


def test_a_loss_of_ones_own(tmp_path, monkeypatch, rollout):
    (tmp_path / "my_policy_losses.py").write_text(
        "from resonance.policy import TokenLosses\n"
        "def bare(batch, *, power=1.0):\n    return -batch.advantages * batch.ratio**power\n"
        "def full(batch):\n    return TokenLosses(-batch.logps, {'mine': batch.ratio - 1})\n"
        "def wrong(batch):\n    return batch.ratio.sum(1)\n"
        "def text(batch):\n    return 'no'\n"
        "def hidden(batch, **params):\n    return batch.ratio\n"
    )
    monkeypatch.chdir(tmp_path)
    unclipped = of("ppo_clip", rollout, clip_low=1.0, clip_high=1e9)
    assert of("my_policy_losses:bare", rollout).loss.item() == pytest.approx(unclipped.loss.item(), abs=1e-15)
    assert of("my_policy_losses:bare", rollout, power=0.0).loss.item() != unclipped.loss.item()
    assert of("my_policy_losses:full", rollout).stats.keys() == {"ratio", "approx_kl", "mine"}
    for name, expected in (
        ("wrong", r"returned wrong shapes: losses must be .* \(16, 11\), got shape \(16,\)"),
        ("text", "returned str; it must return TokenLosses"),
        ("hidden", "hides which parameters it has"),
        ("bared", "has no 'bared' .nearest: bare"),
    ):
        with pytest.raises(ValueError, match=expected):
            of(f"my_policy_losses:{name}", rollout)
    with pytest.raises(ValueError, match="has no parameter 'clip_low'"):
        of("my_policy_losses:bare", rollout, clip_low=0.1)
    assert isinstance(TokenLosses(torch.zeros(1, 1)), TokenLosses)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("ppo", {}, "Unknown policy loss 'ppo' (nearest: "),
        ("ppo_clip", {"clip_low": 1.5}, "clip_low=1.5 is not allowed, it must be a number 0 <= x <= 1"),
        ("ppo_clip", {"dual_clip": 1.0}, "dual_clip=1.0 is not allowed, it must be a finite number > 1, or null"),
        ("ppo_clip", {"eps": 0.2, "clip_high": "0.2"}, "has no parameter 'eps'"),
        ("ppo_clip", {"eps": 0.2, "clip_high": "0.2"}, "clip_high='0.2' is not allowed"),
        ("sapo", {"tau_neg": 0}, "tau_neg=0 is not allowed, it must be a finite number > 0"),
        ("gspo", {"aggregation": "mean"}, "Unknown aggregation 'mean'"),
        (
            "gspo",
            {"old_logps": torch.zeros(16, 10)},
            "old_logps must be a tensor of the mask's shape (B, T) = (16, 11)",
        ),
        ("gspo", {"advantages": torch.zeros(16)}, "advantages must be a tensor of the mask's shape (B, T) = (16, 11)"),
        ("gspo", {"logps": torch.zeros(16, 11).long()}, "logps must be a tensor of floating-point numbers"),
        ("gspo", {"weights": torch.zeros(16, 1)}, "weights must be a tensor of the mask's shape (B, T) = (16, 11)"),
    ],
)
def test_wrong_calls(name, change, expected, rollout):
    call = {key: rollout[key] for key in ("logps", "old_logps", "advantages", "mask")} | {"aggregation": MEAN}
    with pytest.raises(ValueError) as error:
        policy_loss(name, **call | change)
    assert expected in str(error.value)
