# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every gold case: values and gradients of verl 0.9.1's own functions, within 1e-8 in float64.

Where verl adds 1e-8 to a length (the means over a sequence), within 1e-7.
"""

from __future__ import annotations

import pytest
import torch

from policy.conftest import FIRST, MORE, as_float64
from resonance.policy import (
    ADVANTAGES,
    KLS,
    POLICY_LOSSES,
    advantages,
    aggregate,
    at_last_token,
    kl,
    policy_loss,
    rollout_correction,
    value_loss,
)

SUPERSEDED = "seq-mean-token-sum-norm"  # verl 0.7 did not divide by the number of sequences; verl 0.9.1 does
VERL_NAMES = {"clip_ratio_low": "clip_low", "clip_ratio_high": "clip_high"}
KL_NAMES = {"kl": "k1", "abs": "abs", "mse": "k2", "low_var_kl": "k3"}
NOT_OURS = {"geo_mean", "opo", "remax", "gpg"}
POLICY_CASES = [case for case in FIRST["policy_losses"] if case["aggregate"] != SUPERSEDED] + [
    case for case in MORE["policy_losses"] if case["name"] not in NOT_OURS
]


def near(found: torch.Tensor, expected: object, how: str = "") -> None:
    atol = 1e-7 if how == "seq-mean-token-mean" else 1e-8
    torch.testing.assert_close(found.detach(), as_float64(expected), rtol=0, atol=atol)


def named(case: dict) -> str:
    return "-".join([case["name"], *map(str, case["params"].values())])


@pytest.mark.parametrize("case", FIRST["advantages"], ids=named)
def test_advantages_and_returns(case, gold):
    # The reference was called with gamma and lam as float32 tensors, and so is this: 0.95 in float32 is 0.94999999.
    params = {
        name: torch.tensor(value) if name in ("gamma", "lam") else value for name, value in case["params"].items()
    }
    rewards = at_last_token(gold["scores"], gold["mask"])

    found, returns = advantages(
        case["name"], rewards, gold["mask"], group=gold["group"], values=gold["values"], **params
    )

    # verl leaves something on the padding of gae's advantages and returns; here it is 0.
    inside = gold["mask"].bool()
    near(found[inside], as_float64(case["advantages"])[inside].tolist())
    assert not found[~inside].any()
    assert (returns is None) == (case["returns"] is None)
    if returns is not None:
        near(returns[inside], as_float64(case["returns"])[inside].tolist())
        assert not returns[~inside].any()


@pytest.mark.parametrize("case", [case for case in FIRST["advantages"] if case["name"] == "gae"], ids=named)
def test_gae_with_numbers_of_python_is_the_formula_in_full_precision(case, gold):
    params = case["params"]
    rewards = at_last_token(gold["scores"], gold["mask"])
    found, returns = advantages("gae", rewards, gold["mask"], values=gold["values"], **params | {"whiten": False})
    for row, length in enumerate(gold["mask"].sum(1).int().tolist()):
        following = after = 0.0
        for t in reversed(range(length)):
            value = gold["values"][row, t].item()
            delta = rewards[row, t].item() + params["gamma"] * after - value
            following = delta + params["gamma"] * params["lam"] * following
            after = value
            assert found[row, t].item() == pytest.approx(following, abs=1e-12)
            assert returns[row, t].item() == pytest.approx(following + value, abs=1e-12)


def test_gdpo(gold):
    (case,) = [case for case in MORE["advantages"] if case["name"] == "gdpo"]
    parts = torch.stack([gold["scores"], as_float64(case["params"]["second_reward"])], 1)
    found, returns = advantages(
        "gdpo",
        at_last_token(parts, gold["mask"]),
        gold["mask"],
        group=gold["group"],
        weights=case["params"]["weights"],
        eps=case["params"]["eps"],
    )
    near(found, case["advantages"])
    assert returns is None


@pytest.mark.parametrize("case", POLICY_CASES, ids=lambda case: f"{named(case)}-{case['aggregate']}")
def test_policy_losses_and_gradients(case, gold):
    params = {VERL_NAMES.get(name, name): value for name, value in case["params"].items()}
    weights = None
    if correction := params.pop("rollout_correction", None):
        weights = rollout_correction(gold["old_logps"], gold["ref_logps"], gold["mask"], **correction).weights

    output = policy_loss(
        case["name"],
        gold["logps"],
        gold["old_logps"],
        gold["advantages"],
        gold["mask"],
        aggregation=case["aggregate"],
        weights=weights,
        **params,
    )
    output.loss.backward()

    near(output.loss, case["loss"], case["aggregate"])
    near(gold["logps"].grad, case["grad"], case["aggregate"])


def test_gspo_token_is_the_form_of_the_reference(gold):
    (case,) = [case for case in FIRST["policy_losses"] if case["name"] == "gspo"]
    tensors = (gold["logps"], gold["old_logps"], gold["advantages"], gold["mask"])
    output = policy_loss("gspo_token", *tensors, aggregation=case["aggregate"], **case["params"])
    output.loss.backward()
    near(output.loss, case["loss"], case["aggregate"])
    near(gold["logps"].grad, case["grad"], case["aggregate"])


@pytest.mark.parametrize("case", FIRST["kl"], ids=lambda case: case["name"])
def test_kl(case, gold):
    near(kl(KL_NAMES[case["name"]], gold["logps"], gold["ref_logps"]), case["value"])


@pytest.mark.parametrize("case", FIRST["value_loss"], ids=lambda case: str(case["cliprange_value"]))
def test_value_loss_and_gradient(case, gold):
    loss = value_loss(
        gold["new_values"],
        gold["values"],
        gold["returns"],
        gold["mask"],
        cliprange_value=case["cliprange_value"],
        aggregation=case["aggregate"],
    )
    loss.backward()
    near(loss, case["loss"])
    near(gold["new_values"].grad, case["grad"])


@pytest.mark.parametrize("case", FIRST["aggregate"], ids=lambda case: case["mode"])
def test_aggregate(case, gold):
    if case["mode"] == SUPERSEDED:
        (case,) = MORE["aggregate"]
    # The file aggregates the values of advantages * logps, as its numbers show.
    near(aggregate(gold["logps"] * gold["advantages"], gold["mask"], case["mode"]), case["value"], case["mode"])


@pytest.mark.parametrize("case", MORE["rollout_correction"], ids=lambda case: f"{case['level']}-{case['threshold']}")
def test_rollout_correction(case, gold):
    bounds = {"threshold": 2.0}
    if case["threshold"] != 2.0:
        bounds = {"mode": "mask", "threshold_low": 0.5, "threshold": 2.0}
    found = rollout_correction(gold["old_logps"], gold["ref_logps"], gold["mask"], level=case["level"], **bounds)
    near(found.weights, case["weights"])


def test_the_gold_files_cover_the_tables():
    cases = FIRST["advantages"] + MORE["advantages"]
    assert set(ADVANTAGES) - {case["name"] for case in cases} == {"dr_grpo"}  # grpo without scale_by_std, below
    assert set(POLICY_LOSSES) - {case["name"] for case in POLICY_CASES} == {"gspo_token"}
    assert set(KLS) - set(KL_NAMES.values()) == {"k1+", "k3+"}  # straight-through, in test_kl.py
    old = [case["params"] for case in FIRST["policy_losses"] if case["aggregate"] == SUPERSEDED]
    assert old == [case["params"] for case in MORE["policy_losses"] if case["aggregate"] == SUPERSEDED]


def test_dr_grpo_is_grpo_without_the_standard_deviation(gold):
    (case,) = [case for case in FIRST["advantages"] if case["params"].get("scale_by_std") is False]
    rewards = at_last_token(gold["scores"], gold["mask"])
    near(advantages("dr_grpo", rewards, gold["mask"], group=gold["group"])[0], case["advantages"])
