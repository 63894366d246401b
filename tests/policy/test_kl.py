# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""KL estimators: on a small vocabulary, the expectations and the gradients that their docstring states, exactly."""

from __future__ import annotations

import pytest
import torch

from resonance.policy import KLS, AdaptiveKL, FixedKL, kl

LOGITS = torch.tensor([0.3, -1.0, 0.8, 0.1], dtype=torch.float64)
REFERENCE = torch.tensor([-0.5, 0.4, 0.2, 0.6], dtype=torch.float64).log_softmax(0)


def expected_over_samples(name):
    """The mean of an estimator over the policy's own samples, and the mean of its gradient with samples held fixed."""
    logits = LOGITS.clone().requires_grad_()
    logps = logits.log_softmax(0)
    values = kl(name, logps, REFERENCE)
    mean = (logps.detach().exp() * values).sum()
    mean.backward()
    return mean.item(), logits.grad


def true_kl(first_is_policy):
    logits = LOGITS.clone().requires_grad_()
    logps = logits.log_softmax(0)
    first, second = (logps, REFERENCE) if first_is_policy else (REFERENCE, logps)
    value = (first.exp() * (first - second)).sum()
    value.backward()
    return value.item(), logits.grad


@pytest.mark.parametrize("name", ["k1", "k3", "k1+", "k3+"])
def test_these_have_the_expectation_of_kl(name):
    assert expected_over_samples(name)[0] == pytest.approx(true_kl(first_is_policy=True)[0], abs=1e-14)


def test_k2_and_abs_are_other_numbers():
    assert len({round(expected_over_samples(name)[0], 6) for name in ("k1", "k2", "abs")}) == 3


@pytest.mark.parametrize("name", ["k2", "k1+", "k3+"])
def test_these_have_the_gradient_of_kl_from_the_policy(name):
    torch.testing.assert_close(expected_over_samples(name)[1], true_kl(first_is_policy=True)[1], rtol=0, atol=1e-14)


def test_k3_has_the_gradient_of_kl_from_the_reference_and_k1_none():
    torch.testing.assert_close(expected_over_samples("k3")[1], true_kl(first_is_policy=False)[1], rtol=0, atol=1e-14)
    assert expected_over_samples("k1")[1].abs().max() < 1e-15


@pytest.mark.parametrize("name", KLS)
def test_an_unmoved_policy_has_kl_0_exactly(name):
    logps = torch.tensor([[-0.1, -7.3, -2.2]], requires_grad=True)
    values = kl(name, logps, logps.detach())
    values.sum().backward()
    assert not values.any() and (name == "k1" or not logps.grad.any())


@pytest.mark.parametrize("name", KLS)
def test_far_apart_it_stays_finite_and_half_precision_is_computed_in_float32(name):
    logps = torch.tensor([-200.0, -0.5], dtype=torch.bfloat16, requires_grad=True)
    values = kl(name, logps, torch.tensor([-0.5, -200.0], dtype=torch.bfloat16))
    values.sum().backward()
    assert values.dtype == torch.float32 and torch.isfinite(values).all() and torch.isfinite(logps.grad).all()


def test_the_reference_gets_no_gradient():
    reference = torch.zeros(2, requires_grad=True)
    kl("k3", torch.ones(2, requires_grad=True), reference).sum().backward()
    assert reference.grad is None


def test_wrong_calls():
    with pytest.raises(ValueError, match=r"Unknown KL estimator 'k4' \(nearest: .*all: abs, k1, k1\+, k2, k3, k3\+"):
        kl("k4", torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match=r"one shape, got shape \(2, 3\) and shape \(2,\)"):
        kl("k1", torch.zeros(2, 3), torch.zeros(2))


def test_the_adaptive_coefficient_follows_the_formula_and_survives_a_checkpoint():
    controller = AdaptiveKL(0.2, target=6.0, horizon=10_000)
    controller.update(6.6, 256)  # a tenth above the target
    assert controller.value == pytest.approx(0.2 * (1 + 0.1 * 256 / 10_000))
    controller.update(60.0, 256)  # the error is held at a fifth
    controller.update(0.0, 100)
    assert controller.value == pytest.approx(0.2 * (1 + 0.00256) * (1 + 0.2 * 0.0256) * (1 - 0.2 * 0.01))
    again = AdaptiveKL(0.5)
    again.load_state_dict(controller.state_dict())
    assert again.value == controller.value


def test_the_fixed_coefficient_stays():
    controller = FixedKL(0.05)
    controller.update(100.0, 256)
    assert controller.state_dict() == {"value": 0.05}
    with pytest.raises(ValueError, match="Not the state of a KL controller: {'kl': 1}; expected 'value'"):
        controller.load_state_dict({"kl": 1})


@pytest.mark.parametrize("wrong", [{"target": 0}, {"horizon": -1}, {"target": float("nan")}])
def test_a_target_must_be_positive(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* is not allowed, it must be a number > 0"):
        AdaptiveKL(0.1, **wrong)
