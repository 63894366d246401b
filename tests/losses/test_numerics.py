# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every loss in three precisions, on one pair, at extremes, and its gradient against finite differences."""

from __future__ import annotations

import pytest
import torch

from losses.conftest import LOGPS, each, nested_batch, noise_of
from resonance.losses import LOSSES, Margins, get_loss, preference_loss

NAMES = sorted(LOSSES)
POLICY = ("policy_chosen_logps", "policy_rejected_logps")
# Extreme log-probs (B, 4): policy chosen and rejected, reference chosen and rejected.
EXTREME = [[0.0, -1e4, 0.0, 0.0], [-1e4, 0.0, 0.0, 0.0], [-1e4, -1e4, 0.0, 0.0], [0.0, 0.0, -1e4, -1e4], [0.0] * 4]


def run(name, batch, **params):
    output = preference_loss(name, **batch, **params)
    output.losses.sum().backward()
    return output


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_keeps_shape_and_type_and_agrees_with_float64(name, size, dtype, pairs_of):
    batch = pairs_of(size, dtype)
    # the same rounded inputs, so that only the arithmetic differs
    exact = each(batch, lambda values: values.detach().double())
    exact |= {key: exact[key].requires_grad_() for key in POLICY}
    low, high = run(name, batch), run(name, exact)
    assert low.losses.shape == (size,) and low.losses.dtype == dtype
    assert low.chosen_rewards.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 0.1}[dtype]
    torch.testing.assert_close(low.losses.double(), high.losses, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        batch["policy_chosen_logps"].grad.double(), exact["policy_chosen_logps"].grad, rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_extremes_stay_finite_in_value_and_gradient(name, dtype, beta):
    columns = torch.tensor(EXTREME, dtype=dtype).T
    leaves = [columns[0].clone().requires_grad_(), columns[1].clone().requires_grad_()]
    scores = torch.full((len(EXTREME),), 5.0)
    beside = {"margin": scores, "chosen_on_policy": scores, "rejected_on_policy": scores}
    beside |= {"chosen_lengths": scores, "rejected_lengths": scores, "score_chosen": scores, "score_rejected": -scores}
    beside |= nested_batch(dict(zip(LOGPS, columns, strict=True)))
    output = preference_loss(name, *leaves, columns[2], columns[3], **beside, beta=beta)
    output.losses.sum().backward()
    assert torch.isfinite(output.losses).all()
    read = leaves[: 1 if name == "sft" else 2]  # which reads chosen responses only
    assert all(torch.isfinite(leaf.grad).all() for leaf in read)


@pytest.mark.parametrize("name", NAMES)
def test_no_value_is_read_off_the_device(name, pairs_of):
    # A meta tensor has no values, so any look at one raises; on an accelerator it would stop the step.
    batch = each(pairs_of(3), lambda values: values.detach().to("meta"))
    params = {"delta": torch.zeros((), device="meta")} if name == "bco_pair" else {}
    output = preference_loss(name, **batch, **params)
    assert output.losses.device.type == "meta" and output.losses.shape == (3,)


# alpha_dpo stops the gradient at its own target; its gradients are in the gold file
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"alpha_dpo"}))
def test_gradient_equals_finite_differences(name, pairs_of):
    # Random pairs lie off the kinks of hinge, dpop, kto_pair, the two sorts and Uni-DPO's indicators.
    batch = pairs_of(5)
    spec = get_loss(name)
    if spec.needs_ranks:  # what is known of all ranks has no gradient
        known = torch.linspace(-1, 2, 5, dtype=torch.float64)
        batch["ranks"] = Margins(known, slice(None), known.mean(), known.std(), noise_of([0, 2, 3, 4], 5))

    def losses(chosen, rejected):
        return preference_loss(spec, **(batch | dict(zip(POLICY, (chosen, rejected), strict=True))), beta=0.7).losses

    assert torch.autograd.gradcheck(losses, tuple(batch[key] for key in POLICY))


TOUCHING = {"kto_pair", "aot", "aot_unpaired", "alpha_dpo", "beta_dpo", "mm_dpo_released"}


@pytest.mark.parametrize("name", sorted(set(NAMES) - TOUCHING))
def test_pairs_do_not_touch_each_other(name, pairs_of):
    batch = pairs_of(5)
    whole = preference_loss(name, **batch).losses
    for row in range(5):
        alone = preference_loss(name, **each(batch, lambda values, row=row: values[row : row + 1])).losses
        torch.testing.assert_close(alone, whole[row : row + 1])


def test_a_shift_of_both_models_changes_no_loss_with_a_reference(pairs_of):
    for name in (name for name in NAMES if LOSSES[name].needs_reference):
        batch = pairs_of(5)
        params = {"uni_dpo": {"nll_lambda": 0.0}, "rpo": {"rpo_alpha": 0.0}}.get(name, {})
        before = preference_loss(name, **batch, **params).losses
        shifted = {key: value - 1.5 if key.endswith("chosen_logps") else value for key, value in batch.items()}
        if name in ("uni_dpo", "alpha_dpo"):  # they read the policy's own margin, so both responses shift
            shifted = {key: value - 1.5 if key.endswith("_logps") else value for key, value in batch.items()}
        after = preference_loss(name, **shifted, **params).losses
        torch.testing.assert_close(after, before, msg=lambda text, name=name: f"{name}: {text}")


def test_discopop_is_its_formula_where_that_is_finite_and_finite_beyond():
    x = torch.tensor([-600.0, -30.0, -1.0, 0.0, 0.1, 40.0], dtype=torch.float64)
    zero = torch.zeros_like(x)
    blend = torch.sigmoid(x / 0.05)
    naive = -torch.nn.functional.logsigmoid(x) * (1 - blend) + torch.exp(-x) * blend
    torch.testing.assert_close(preference_loss("discopop", x, zero, zero, zero, beta=1.0).losses, naive)

    far = torch.tensor([-1e4], requires_grad=True)
    assert torch.isnan(torch.exp(-far) * torch.sigmoid(far / 0.05)).all()  # the formula as written: inf * 0
    output = preference_loss("discopop", far, zero[:1].float(), zero[:1].float(), zero[:1].float(), beta=1.0)
    output.losses.sum().backward()
    assert output.losses.item() == 1e4 and far.grad.item() == -1.0


def test_discopop_above_temperature_one_overflows_to_inf_and_never_to_nan():
    x, zero = torch.tensor([-1e4, -10.0]), torch.zeros(2)
    losses = preference_loss("discopop", x, zero, zero, zero, beta=1.0, discopop_tau=2.0).losses
    assert losses[0] == torch.inf and torch.isfinite(losses[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_orpo_is_accurate_next_to_certainty(dtype):
    # lp -> 0: log(1 - exp(lp)) = log(-lp) + lp / 2 - ..., which log1p(-exp(lp)) gets wrong by whole units in float32
    chosen = torch.tensor([-1e-9], dtype=dtype, requires_grad=True)
    rejected = torch.tensor([-1e-12], dtype=dtype)
    loss = preference_loss("orpo", chosen, rejected, None, None, beta=1.0).losses
    expected = torch.log1p(torch.tensor(1e3, dtype=torch.float64))  # log odds -ln 1000
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
