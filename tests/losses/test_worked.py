# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Numbers worked by hand, and those of trl for the losses the gold file lacks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from resonance.losses import LOSSES, Pairs, preference_loss


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# One pair: lp_w = -3, lp_l = -5, ref_w = -2, ref_l = -2, so c = -1, l = -3, m = 2, r = 0, D = 2; beta 0.5, bD = 1.
BETA = 0.5
ONE_PAIR = {
    "sigmoid": ({"label_smoothing": 0.1}, 0.9 * softplus(-1) + 0.1 * softplus(1)),
    "hinge": ({}, 0.0),  # 1 - 1
    "ipo": ({}, 1.0),  # (2 - 1)^2
    "kto_pair": ({}, 0.5 * (sigma(0.5) + sigma(-1.5))),  # both KL estimates are clamped to 0
    "simpo": ({"simpo_gamma": 0.25}, softplus(-0.75)),  # 0.5 * 2 - 0.25
    "orpo": ({}, 3 + 0.5 * softplus(-2 + math.log(1 - math.exp(-3)) - math.log(1 - math.exp(-5)))),
    "robust": ({"label_smoothing": 0.25}, (0.75 * softplus(-1) - 0.25 * softplus(1)) / 0.5),
    "exo_pair": (
        {"label_smoothing": 0.2},
        sigma(1) * math.log(sigma(1) / 0.8) + sigma(-1) * math.log(sigma(-1) / 0.2),
    ),
    "nca_pair": ({}, softplus(0.5) + 0.5 * softplus(-0.5) + 0.5 * softplus(-1.5)),
    "bco_pair": ({"delta": -0.25}, softplus(0.25) + softplus(-1.25)),  # c - d = -0.5 + 0.25, l - d = -1.5 + 0.25
    "sppo_hard": ({}, 8.0),  # (-1 - 1)^2 + (-3 + 1)^2
    "aot": ({}, softplus(-1)),  # one pair: nothing to sort, DPO
    "aot_unpaired": ({}, softplus(-1)),
    "apo_zero": ({}, 1 - sigma(-0.5) + sigma(-1.5)),
    "apo_down": ({}, sigma(-0.5) + 1 - sigma(1)),
    "discopop": ({"discopop_tau": 0.5}, softplus(-1) * sigma(-2) + math.exp(-1) * sigma(2)),
    "dpop": ({"dpop_lambda": 5.0}, softplus(1.5)),  # 0.5 * (2 - 5 * 1)
    "uni_dpo": (  # S_w - S_l = 2, w_qual = s(1), w_perf = s(2 - 1)^2; ref_w > lp_w and S_w = tau_good: NLL 0.1 * 3
        {"qual_eta": 0.5, "tau_ref": 2.0, "perf_gamma": 2.0, "nll_lambda": 0.1, "tau_good": 4.0},
        sigma(1) * sigma(1) ** 2 * softplus(-1) + 0.3,
    ),
    "sigmoid_norm": ({}, softplus(-1)),
    "rpo": ({"rpo_alpha": 0.5}, softplus(-1) + 0.5 * 3 / 4),  # |y_w| = 4
    "cpo": ({"cpo_alpha": 0.5}, softplus(-1) + 0.5 * 3 / 4),  # m = D here
    "f_dpo_js": ({}, softplus(0.5 * (softplus(1) - softplus(3)))),  # logsigmoid(-1) = -softplus(1)
    "f_dpo_alpha": ({"f_alpha": 0.5}, softplus(-0.5 * (math.exp(1.5) - math.exp(0.5)) / 0.5)),
    "focalpo": ({"focalpo_gamma": 2.0}, sigma(1) ** 2 * softplus(-1)),
    "wpo": ({}, math.exp(-1.5) * softplus(-1)),  # on-policy -0.5 and -1
    "mm_dpo": ({"mm_dpo_w": 2.0, "mm_dpo_k": 0.5}, softplus(-1 * (1 + 2 * (1 - math.exp(-1))))),  # d = 2
    "mm_dpo_released": ({}, softplus(-1)),  # one pair: its margin is the mean
    "beta_dpo": ({}, softplus(-1)),
    "alpha_dpo": ({"gamma_beta_ratio": 0.5}, softplus(-0.75)),  # 0.5 * (2 - 0.5); one pair has no deviation
    "rpo_bwd_kl": (  # gt_reward_scale 0.25, so q = 0.5
        {"gt_reward_scale": 0.25},
        sigma(0.5) * math.log(sigma(0.5) / sigma(1)) + sigma(-0.5) * math.log(sigma(-0.5) / sigma(-1)),
    ),
    "rpo_fwd_kl": (
        {"gt_reward_scale": 0.25},
        sigma(1) * math.log(sigma(1) / sigma(0.5)) + sigma(-1) * math.log(sigma(-1) / sigma(-0.5)),
    ),
    "rpo_sq": ({"gt_reward_scale": 0.25}, 0.25),  # (1 - 0.5)^2
    "odpo": ({"odpo_alpha": 2.0}, softplus(-0.4)),  # margin 0.3
    # tokens that differ: lp_w = -1, lp_l = -2 of one token each, ref_w = -1.5, ref_l = -0.5, so their D is 2
    "ddpo": ({"ddpo_gamma": 3.0}, softplus(-3)),  # 0.5 * (2 + 2 * 2)
    "ddpo_segments": ({}, softplus(-1)),
    # beside a corrupted image lp_w is -4 and ref_w -2.5, so D_c = 0.5 * (1 - 0.5); c = -0.5
    "mdpo": (
        {"mdpo_delta": 0.25, "mdpo_image_weight": 2.0, "mdpo_anchor_weight": 0.5},
        softplus(-1) + 2 * softplus(-0.25) + 0.5 * softplus(0.75),
    ),
    "chip_visual": ({}, softplus(-1.25)),
    "odds_ratio": ({}, 0.5 * softplus(-2 + math.log(1 - math.exp(-3)) - math.log(1 - math.exp(-5)))),
    "sft": ({}, 3.0),
}


def one_pair() -> dict[str, Any]:
    values = {
        "policy_chosen_logps": -3.0,
        "policy_rejected_logps": -5.0,
        "reference_chosen_logps": -2.0,
        "reference_rejected_logps": -2.0,
        "score_chosen": 4.0,
        "score_rejected": 2.0,
        "chosen_lengths": 4.0,
        "rejected_lengths": 2.0,
        "margin": 0.3,
        "chosen_on_policy": -0.5,
        "rejected_on_policy": -1.0,
    }
    changed = Pairs(*map(number, (-1.0, -2.0, -1.5, -0.5, 1.0, 1.0)), logps="sum")
    corrupted = Pairs(*map(number, (-3.0, -4.0, -2.0, -2.5)))
    return {name: number(value) for name, value in values.items()} | {"changed": changed, "corrupted": corrupted}


def number(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_pair_by_hand(name):
    params, expected = ONE_PAIR[name]
    output = preference_loss(name, **one_pair(), beta=BETA, **params)
    assert output.losses.tolist() == [pytest.approx(expected, rel=1e-12, abs=1e-12)]
    rewards = (output.chosen_rewards.item(), output.rejected_rewards.item())
    usual = (-0.5, -1.5) if LOSSES[name].needs_reference else (-1.5, -2.5)
    assert rewards == {"ddpo": (0.0, -3.0), "ddpo_segments": (0.25, -0.75)}.get(name, usual)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_rewards_and_stats_carry_no_gradient(name, gold, pairs_of):
    beside = ("margin", "changed", "corrupted")
    more = {key: value for key, value in pairs_of(8).items() if "policy" in key or key in beside}
    output = preference_loss(name, **(more | gold("mean")))
    assert output.losses.requires_grad
    for value in (output.chosen_rewards, output.rejected_rewards, *output.stats.values()):
        assert not value.requires_grad and value.shape == (8,)


def test_margins_are_in_the_stats_of_a_loss_with_a_reference():
    stats = preference_loss("sigmoid", **one_pair()).stats
    assert {name: value.tolist() for name, value in stats.items()} == {
        "pi_logratios": [2.0],
        "ref_logratios": [0.0],
        "logits": [2.0],
    }
    assert set(preference_loss("orpo", **one_pair()).stats) == {"sft_loss", "odds_ratio_loss"}


def test_orpo_stats_make_up_the_loss(gold):
    output = preference_loss("orpo", **gold("mean"), beta=0.3)
    whole = output.stats["sft_loss"] + 0.3 * output.stats["odds_ratio_loss"]
    torch.testing.assert_close(output.losses.detach(), whole)


def test_mm_dpo_of_contradicting_scores_is_dpo(gold):
    batch = gold("sum")
    higher = batch["score_chosen"] > batch["score_rejected"]
    found, dpo = (preference_loss(name, **batch).losses for name in ("mm_dpo", "sigmoid"))
    assert torch.equal(found == dpo, ~higher) and 0 < int(higher.sum()) < 8


def test_wpo_counts_no_pair_more_than_once(gold):
    batch, likely = gold("sum"), torch.tensor([-1.0, 0.3, 0.0, 2.0, 0.5, -0.2, 0.1, 0.0], dtype=torch.float64)
    found = preference_loss("wpo", **batch, chosen_on_policy=likely, rejected_on_policy=likely).stats["wpo_weight"]
    torch.testing.assert_close(found, (2 * likely).clamp(max=0).exp())


def test_gradients_of_losses_without_a_reference_implementation(gold):
    """focalpo, with p = sigmoid(b D): dL/dD = -b p^g (1 - p) (1 + g log p); the others: DPO's elsewhere."""
    for name, params in (("focalpo", {"focalpo_gamma": 0.5}), ("odpo", {"odpo_alpha": 0.7}), ("mm_dpo", {})):
        batch = gold("sum")
        margin = torch.linspace(0, 2, 8, dtype=torch.float64)
        preference_loss(name, **batch, margin=margin, beta=0.3, **params).losses.sum().backward()
        logits = (
            (batch["policy_chosen_logps"] - batch["policy_rejected_logps"])
            - (batch["reference_chosen_logps"] - batch["reference_rejected_logps"])
        ).detach()
        higher = (batch["score_chosen"] - batch["score_rejected"]).clamp(min=0)
        beta = 0.3 * (1 + 0.5 * (1 - (-0.5 * higher).exp())) if name == "mm_dpo" else 0.3
        p = (beta * logits - (0.7 * margin if name == "odpo" else 0)).sigmoid()
        slope = -beta * (1 - p) * (p**0.5 * (1 + 0.5 * p.log()) if name == "focalpo" else 1)
        torch.testing.assert_close(batch["policy_chosen_logps"].grad, slope, rtol=0, atol=1e-12)
        torch.testing.assert_close(batch["policy_rejected_logps"].grad, -slope, rtol=0, atol=1e-12)


def test_dpop_is_dpo_while_the_chosen_response_stays_above_the_reference(gold):
    batch = gold("sum")
    batch["reference_chosen_logps"] = batch["policy_chosen_logps"].detach() - 1
    dpop, dpo = preference_loss("dpop", **batch), preference_loss("sigmoid", **batch)
    torch.testing.assert_close(dpop.losses, dpo.losses)
    assert dpop.stats["dpop_penalty"].tolist() == [0.0] * 8


# trl 0.9.4, DPOTrainer.dpo_loss, the last release with kto_pair (0.8.6 gives the same), on the gold pairs: 2B losses,
# chosen halves first, and gradients of their mean.
TRL_KTO = {
    0.1: (
        [0.4278241924938656, 0.34510426227143476, 0.42240022521091003, 0.3746772916701604]
        + [0.6027347010832487, 0.5129576419469968, 0.4267677001252619, 0.41869981669025613]
        + [0.430842343351585, 0.42625399594088265, 0.4657611909013559, 0.32372843024392106]
        + [0.45846110385670336, 0.5055324264365717, 0.44341517609659076, 0.4069954827214667],
        [-0.003048634558891152, -0.0029312386690329402, -0.0030435571972776835, -0.00298303184617888]
        + [-0.003015227861281765, -0.0030801436007932516, -0.0030476744179175203, -0.0030398822300346804],
        [0.0015326076157931247, 0.0015285095430332043, 0.0015551731496969163, 0.0013683020855982987]
        + [0.0015517157506699777, 0.0015623087016107748, 0.001542488485648876, 0.001508438498536169],
    ),
    0.5: (
        [0.18943742730390034, 0.03904745538486454, 0.17298189368102446, 0.0716900473494827]
        + [0.889374136668531, 0.5644422982958102, 0.18614503668589455, 0.16238816030578218]
        + [0.1990765086293711, 0.18455943762604365, 0.3349569964572596, 0.02451980501272233]
        + [0.30307506407424456, 0.5276350697142658, 0.24295153427243044, 0.13215935828833336],
        [-0.009937910248963983, -0.0063120309731031, -0.009610043677063088, -0.0072191507495931026]
        + [-0.008214063163128244, -0.012822169678650672, -0.009873665672799037, -0.009390015163273546],
        [0.00498265788566597, 0.0047030391127875675, 0.006961275218174718, 0.0007474557554643877]
        + [0.00660064280033241, 0.00778863446630899, 0.005747690195846953, 0.0035841644470359156],
    ),
}


@pytest.mark.parametrize("beta", sorted(TRL_KTO))
def test_kto_pair_equals_trl(beta, gold):
    losses, grad_chosen, grad_rejected = (torch.tensor(part, dtype=torch.float64) for part in TRL_KTO[beta])
    batch = gold("sum")
    output = preference_loss("kto_pair", **batch, beta=beta)
    output.losses.mean().backward()

    near = {"rtol": 0, "atol": 1e-9}
    torch.testing.assert_close(output.losses.detach(), losses.view(2, 8).mean(0), **near)
    torch.testing.assert_close(output.losses.mean().detach(), losses.mean(), **near)
    torch.testing.assert_close(batch["policy_chosen_logps"].grad, grad_chosen, **near)
    torch.testing.assert_close(batch["policy_rejected_logps"].grad, grad_rejected, **near)


# trl 0.9.4, DPOTrainer.dpo_loss (the formula of 0.24 too), with the running mean held at 0.25, on the gold pairs, and
# gradients of the mean.
TRL_BCO = {
    0.1: (
        [1.2318044177781489, 1.0676248533411963, 1.2839209787168362, 0.9581854154748233]
        + [1.6894251123239026, 1.5540754495906661, 1.251890105643064, 1.1728906659638734],
        [-0.006122723992056632, -0.005044572243409338, -0.006053415079668164, -0.0054352787598768056]
        + [-0.008260032220132402, -0.00718615987601659, -0.006109238784615983, -0.006006020747351376],
        [0.005351433674696149, 0.005294172236504399, 0.005787403814612316, 0.004016201258969103]
        + [0.005696232477605315, 0.006284370059230062, 0.005508369466483736, 0.00505389450152594],
    ),
    0.5: (
        [0.7565650358726005, 0.5095007883020032, 1.0686123314104865, 0.15717221435577777]
        + [3.1773522211137064, 2.333579642755666, 0.8591388802154123, 0.5527039988797295],
        [-0.014426439267802675, -0.0030992482046231077, -0.013231968543906385, -0.005638431591119396]
        + [-0.056980209457634226, -0.03903884173007068, -0.014188300555309941, -0.01245734558634279],
        [0.02436869018593187, 0.022991120567397817, 0.03526656733757858, 0.00379404265984135]
        + [0.032992602989716374, 0.04635827948500218, 0.0282556880174384, 0.017585827780515227],
    ),
}


@pytest.mark.parametrize("beta", sorted(TRL_BCO))
@pytest.mark.parametrize("delta", [0.25, torch.tensor(0.25, dtype=torch.float64)])
def test_bco_pair_equals_trl(beta, delta, gold):
    expected = [torch.tensor(part, dtype=torch.float64) for part in TRL_BCO[beta]]
    batch = gold("sum")
    output = preference_loss("bco_pair", **batch, beta=beta, delta=delta)
    output.losses.mean().backward()
    found = [output.losses.detach(), batch["policy_chosen_logps"].grad, batch["policy_rejected_logps"].grad]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
