# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Uni-DPO: its gradient, what flows through the weights, the indicators, and extreme margins."""

from __future__ import annotations

import math

import pytest
import torch

from resonance.losses import preference_loss

EXTREMES = [-1e4, -100.0, 0.0, 100.0, 1e4]


def uni_dpo(chosen, rejected, ref_chosen, ref_rejected, scores=(4.0, 1.0), **params):
    def like(value: float) -> torch.Tensor:
        return torch.full_like(chosen, value).detach()

    reference = [torch.as_tensor(ref, dtype=chosen.dtype).expand(chosen.shape) for ref in (ref_chosen, ref_rejected)]
    named = {"score_chosen": like(scores[0]), "score_rejected": like(scores[1])}
    return preference_loss("uni_dpo", chosen, rejected, *reference, **named, **params)


def policy(*values: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def test_gradient_is_the_formula_of_the_docstring(gold):
    beta, gamma, tau = 2.0, 3.0, 2.0
    batch = gold("mean")
    output = preference_loss("uni_dpo", **batch, beta=beta, perf_gamma=gamma, tau_ref=tau, nll_lambda=0.0)
    output.losses.sum().backward()

    m, d = output.stats["pi_logratios"], output.stats["logits"]
    weight = output.stats["w_qual"] * output.stats["w_perf"]
    focal = gamma * torch.sigmoid(beta * m - tau) * torch.log(torch.sigmoid(beta * d))
    expected = -beta * weight * (torch.sigmoid(-beta * d) - focal)
    torch.testing.assert_close(batch["policy_chosen_logps"].grad, expected)
    torch.testing.assert_close(batch["policy_rejected_logps"].grad, -expected)


def test_the_path_through_w_perf_adds_half_the_gradient_at_the_start():
    # m = r = 0: s(0) = 1/2 from the logistic part, 3 * s(-2) * log 2 from w_perf, which is 49.6% of it.
    gradients = {}
    for detach in (False, True):
        chosen, rejected = policy(-1.0), policy(-1.0)
        output = uni_dpo(chosen, rejected, -1.0, -1.0, beta=2.0, nll_lambda=0.0, detach_weights=detach)
        output.losses.sum().backward()
        gradients[detach] = chosen.grad.item()
    added = gradients[False] / gradients[True] - 1
    assert added == pytest.approx(3 / (1 + math.exp(2)) * math.log(2) / 0.5, rel=1e-12)
    assert round(100 * added, 1) == 49.6


def test_detach_weights_keeps_the_value_and_changes_the_gradient(gold):
    kept, cut = gold("mean"), gold("mean")
    with_path = preference_loss("uni_dpo", **kept, beta=2.0)
    without = preference_loss("uni_dpo", **cut, beta=2.0, detach_weights=True)
    assert torch.equal(with_path.losses, without.losses)
    assert with_path.stats.keys() == without.stats.keys()
    with_path.losses.sum().backward()
    without.losses.sum().backward()
    # both parts of the gradient push the same way, so cutting one makes every entry smaller
    assert (kept["policy_chosen_logps"].grad.abs() > cut["policy_chosen_logps"].grad.abs()).all()


@pytest.mark.parametrize(
    ("ref_chosen", "score", "expected"),
    [
        (-0.5, 2.5, 0.1),  # reference above policy, score just good enough: both hold
        (-0.5, 2.499, 0.0),  # score too low
        (-1.0, 5.0, 0.0),  # reference equal to the policy: not above
        (-2.0, 5.0, 0.0),  # reference below
    ],
)
def test_nll_only_where_the_reference_is_above_and_the_score_is_good(ref_chosen, score, expected):
    output = uni_dpo(policy(-1.0), policy(-2.0), ref_chosen, -2.0, scores=(score, 1.0), nll_lambda=0.1)
    plain = uni_dpo(policy(-1.0), policy(-2.0), ref_chosen, -2.0, scores=(score, 1.0), nll_lambda=0.0)
    assert output.stats["nll_coeffi"].tolist() == [expected]
    assert output.stats["nll"].tolist() == [expected]  # times -lp_w = 1
    assert (output.losses - plain.losses).item() == pytest.approx(expected, abs=1e-15)


def test_equal_scores_weigh_one_half_and_eta_scales_the_difference():
    same = uni_dpo(policy(-1.0), policy(-2.0), -1.0, -2.0, scores=(3.0, 3.0))
    apart = uni_dpo(policy(-1.0), policy(-2.0), -1.0, -2.0, scores=(4.0, 3.0), qual_eta=math.log(3))
    assert same.stats["w_qual"].item() == 0.5
    assert apart.stats["w_qual"].item() == pytest.approx(0.75)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("detach", [False, True])
def test_gamma_zero_is_exactly_no_weight_with_no_gradient(dtype, detach):
    chosen = policy(*EXTREMES, dtype=dtype)
    rejected = policy(*[0.0] * len(EXTREMES), dtype=dtype)
    options = {"beta": 1.0, "qual_eta": 0.0, "nll_lambda": 0.0}
    output = uni_dpo(chosen, rejected, 0.0, 0.0, perf_gamma=0.0, detach_weights=detach, **options)
    output.losses.sum().backward()
    assert output.stats["w_perf"].tolist() == [1.0] * len(EXTREMES)

    plain = policy(*EXTREMES, dtype=dtype)
    (-0.5 * torch.nn.functional.logsigmoid(plain)).sum().backward()
    assert torch.equal(chosen.grad, plain.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 3.0, 50.0])
def test_extreme_margins_stay_finite(dtype, gamma):
    # with gamma < 1 a power of an underflown sigmoid would have the gradient 0 * inf
    chosen, rejected = policy(*EXTREMES, dtype=dtype), policy(*[0.0] * len(EXTREMES), dtype=dtype)
    output = uni_dpo(chosen, rejected, 0.0, 0.0, beta=1.0, perf_gamma=gamma)
    output.losses.sum().backward()
    assert torch.isfinite(output.losses).all()
    assert torch.isfinite(chosen.grad).all() and torch.isfinite(rejected.grad).all()
    assert output.stats["w_perf"][0] == 1.0 and output.stats["w_perf"][-1] == 0.0


def test_a_score_is_compared_before_it_is_rounded_to_the_type_of_the_log_probs():
    chosen, rejected = policy(-1.0, dtype=torch.bfloat16), policy(-2.0, dtype=torch.bfloat16)
    reference = [torch.zeros(1, dtype=torch.bfloat16)] * 2
    score = torch.tensor([2.499], dtype=torch.float32)  # 2.5 in bfloat16
    output = preference_loss("uni_dpo", chosen, rejected, *reference, score_chosen=score, score_rejected=score)
    assert output.stats["nll_coeffi"].item() == 0.0
    assert output.losses.dtype == torch.bfloat16
