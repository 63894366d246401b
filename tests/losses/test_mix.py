# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Mixes: the weighted sum of their parts, each on the log-probs that it is defined on."""

from __future__ import annotations

import inspect

import pytest
import torch

from resonance.losses import add_sft, check_params, get_loss, mix_bco, preference_loss
from resonance.losses.compute import trial_problem

MPO = ["sigmoid", "bco_pair", "sft"]


def grads(batch):
    return [batch[name].grad for name in ("policy_chosen_logps", "policy_rejected_logps")]


def test_mpo_is_llamafactorys_bco_weight_and_ftx(gold):
    ours, other = gold("sum"), gold("sum")
    mixed = preference_loss(MPO, **ours, beta=0.3, delta=0.2, weights=[0.8, 0.2, 1.0])
    dpo, bco = (
        preference_loss(name, **other, beta=0.3, **p) for name, p in (("sigmoid", {}), ("bco_pair", {"delta": 0.2}))
    )
    theirs = add_sft(
        mix_bco(dpo.losses, bco.losses, 0.25), other["policy_chosen_logps"] / other["chosen_lengths"], 1.0
    )
    mixed.losses.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(mixed.losses, theirs, rtol=1e-14, atol=0)
    torch.testing.assert_close(grads(ours), grads(other), rtol=1e-14, atol=0)
    assert torch.equal(mixed.chosen_rewards, dpo.chosen_rewards)
    torch.testing.assert_close(mixed.stats["bco_pair/loss"], bco.losses.detach())
    assert {"sigmoid/loss", "bco_pair/loss", "sft/loss", "logits"} <= set(mixed.stats)


@pytest.mark.parametrize(("average", "logps"), [(None, "sum"), (True, "mean"), (False, "sum")])
def test_each_part_reads_the_log_probs_of_its_rule(average, logps, gold):
    """Sums are handed over unless all parts read means, or the caller asked for means."""
    mixed = preference_loss("sigmoid,uni_dpo,ipo", **gold(logps), logps=logps, average=average)
    rules = {"sigmoid": logps, "uni_dpo": "mean" if average in (None, True) else "sum", "ipo": "mean"}
    expected = sum(preference_loss(name, **gold(rule)).losses for name, rule in rules.items())
    torch.testing.assert_close(mixed.losses, expected, rtol=1e-12, atol=1e-12)
    assert mixed.stats["uni_dpo/w_qual"].shape == (8,)


def test_a_mix_of_means_is_handed_means(gold):
    spec = get_loss(["odds_ratio", "sft"])
    assert (spec.name, spec.logps, spec.logps_fixed, spec.needs_reference) == ("odds_ratio,sft", "mean", True, False)
    orpo, mixed = (preference_loss(name, **gold("mean"), beta=0.3) for name in ("orpo", spec))
    torch.testing.assert_close(mixed.losses, orpo.losses, rtol=1e-14, atol=0)
    assert get_loss("sigmoid, sft").logps == "sum" and get_loss(["sigmoid"]) is get_loss("sigmoid")


def test_a_mix_needs_what_its_parts_need():
    spec = get_loss("uni_dpo,bco_pair,wpo,odpo,beta_dpo")
    assert spec.needs_scores and spec.baseline and spec.needs_on_policy and spec.needs_margin and spec.needs_ranks
    mixed = get_loss("sigmoid,mdpo")
    assert mixed.needs_corrupted and trial_problem(mixed, {}) is None and trial_problem(get_loss("mdpo"), {}) is None
    assert get_loss("sigmoid,ddpo").needs_changed and trial_problem(get_loss("sigmoid,ddpo"), {}) is None
    assert spec.per_pair and not get_loss("aot,sft").per_pair
    assert trial_problem(spec, {}) is None
    text = inspect.getdoc(get_loss(MPO).fn)
    assert "A mix of sigmoid, bco_pair and sft" in text and "`resonance losses bco_pair`" in text


def test_the_first_default_that_does_something_is_that_of_the_mix():
    assert get_loss("sigmoid,exo_pair").params["label_smoothing"] == 1e-3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weights": [1.0, 2.0]}, "weights=[1.0, 2.0] are 2 numbers for 3 losses: sigmoid, bco_pair, sft"),
        (
            {"weights": [1.0, -2.0, 1]},
            "weights=[1.0, -2.0, 1]: -2.0 is not allowed, each must be a finite number >= 0",
        ),
        ({"weights": [0, 0, 0.0]}, "at least one must be above 0"),
        ({"weights": 0.8}, "weights=0.8 is not allowed, it must be a list of numbers, one for each of sigmoid, bco"),
        ({"label_smoothing": 0.7}, "sigmoid: label_smoothing=0.7 is not allowed"),
        ({"label_smooting": 0.1}, "sigmoid,bco_pair,sft has no parameter 'label_smooting' (nearest: label_smoothing"),
    ],
)
def test_wrong_parameters(params, message):
    (found,) = check_params(MPO, params)
    assert message in found


def test_mixes_that_cannot_be():
    with pytest.raises(ValueError, match="each loss once, found twice: sft"):
        get_loss("sft,sigmoid,sft")
    with pytest.raises(ValueError, match="alpha_dpo compares .* by means .* cannot be mixed with sigmoid, which read"):
        get_loss("sigmoid,alpha_dpo")
    assert get_loss("alpha_dpo,sft").logps == "mean"
    with pytest.raises(ValueError, match=r"Unknown loss 'bco_pairs' \(nearest: bco_pair"):
        get_loss("sigmoid,bco_pairs")
