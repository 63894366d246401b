# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every loss of the table trains through LlamaFactory's own run, and trains what its name says."""

from __future__ import annotations

import math

import pytest

from resonance.forward.names import SPEEDUPS
from resonance.losses import LOSSES
from training import test_every_loss
from training.mixed import on_off

LN2 = math.log(2)
# At step 1 policy and reference are the same model, so every log-ratio is 0 and the loss of most names is a constant
# of its formula (beta 0.1): the one number that tells the losses apart.
FIRST_LOSS = {
    "sigmoid": LN2,
    "hinge": 1.0,
    "ipo": (1 / (2 * 0.1)) ** 2,
    "kto_pair": 0.5,
    "robust": LN2,
    "nca_pair": 2 * LN2,
    "bco_pair": 2 * LN2,
    "sppo_hard": 2 * (1 / (2 * 0.1)) ** 2,
    "aot_unpaired": LN2,
    "apo_zero": 1.0,
    "apo_down": 1.0,
    "discopop": 0.5 * LN2 + 0.5,
    "dpop": LN2,
    "exo_pair": 0.5 * (-LN2 - math.log(0.9)) + 0.5 * (-LN2 - math.log(0.1)),
}
# Others train in `test_every_loss` only; beta_dpo stands for those that remember earlier batches.
WHOLE = sorted({*FIRST_LOSS, "aot", "uni_dpo", "orpo", "simpo", "beta_dpo"})
SMOOTHING = {"exo_pair": 0.1, "robust": 0.1}
COMMON = {"pref_engine": "resonance", "max_steps": 3, "num_train_epochs": None}


@pytest.fixture(scope="module")
def runs(train_many):
    recipes = {name: {**COMMON, "pref_loss": name, "dpo_label_smoothing": SMOOTHING.get(name, 0.0)} for name in WHOLE}
    recipes["mpo"] = {
        **COMMON,
        "pref_loss": ["sigmoid", "bco_pair", "sft"],
        "pref_loss_weights": [1 / 1.3, 0.3 / 1.3, 0.5],
    }
    recipes["own-smoothing"] = {**COMMON, "pref_loss": "exo_pair"}
    recipes["user"] = {**COMMON, "pref_loss": "resonance.losses.slic:hinge", "pref_engine": None}
    recipes["stock-sigmoid"] = {**COMMON, "pref_engine": None, "pref_ftx": 0.5, "pref_bco_weight": 0.3}
    recipes["our-sigmoid"] = {**COMMON, "pref_ftx": 0.5, "pref_bco_weight": 0.3}
    recipes["stock-ld"] = {**COMMON, "pref_engine": None, "ld_alpha": 0.5}
    recipes["our-ld"] = {**COMMON, "ld_alpha": 0.5}
    for name in ("orpo", "simpo"):
        recipes[f"stock-{name}"] = {**COMMON, "pref_engine": None, "pref_loss": name}
    recipes["mean-sigmoid"] = {**COMMON, "pref_engine": None, "dpo_average_log_prob": True}
    recipes["sum-uni"] = {**COMMON, "pref_loss": "uni_dpo", "dpo_average_log_prob": False}
    recipes["lora"] = {**COMMON, "pref_loss": "uni_dpo", "finetuning_type": "lora", "lora_rank": 4}
    recipes["freeze"] = {**COMMON, "pref_loss": "uni_dpo", "finetuning_type": "freeze", "freeze_trainable_layers": 1}
    recipes["ref_model"] = {**COMMON, "pref_loss": "uni_dpo", "ref_model": "MODEL"}
    from pathlib import Path

    recipes["ref_model"]["ref_model"] = str(Path(__file__).parents[1] / "golden" / "trajectory" / "model")
    return train_many(recipes)


def losses(run):
    assert run.returncode == 0, run.output[-4000:]
    return [loss for (loss,) in run.logged("loss")]


@pytest.mark.parametrize("name", WHOLE)
def test_a_loss_trains(runs, name):
    found = losses(runs[name])
    assert len(found) == 3 and all(math.isfinite(loss) for loss in found)
    assert all(norm > 0 for (norm,) in runs[name].logged("grad_norm"))
    if name in FIRST_LOSS:
        assert found[0] == pytest.approx(FIRST_LOSS[name], rel=1e-4)


def test_the_table_of_first_losses_covers_every_loss_with_a_reference():
    """aot sorts margins that differ between pairs, and uni_dpo weighs pairs: no constant there."""
    known = {*FIRST_LOSS, *test_every_loss.FIRST_LOSS, "rpo", "wpo", "alpha_dpo"}  # these depend on the policy
    assert {name for name, spec in LOSSES.items() if spec.needs_reference} - known == {"aot", "uni_dpo"}


@pytest.mark.parametrize("name", ["hinge", "ipo", "kto_pair"])
def test_one_warning_says_that_llamafactory_would_train_sigmoid(runs, name):
    assert runs[name].output.count(f"pref_loss: {name} trains the {name} loss here") == 1
    assert "trains the sigmoid loss here" not in runs["sigmoid"].output


def test_the_losss_own_smoothing_is_said(runs):
    first, *_ = losses(runs["own-smoothing"])
    assert first == pytest.approx(-LN2 - 0.5 * (math.log(0.999) + math.log(0.001)), rel=1e-4)
    assert "dpo_label_smoothing: not given; pref_loss: exo_pair uses its own 0.001" in runs["own-smoothing"].output


def test_a_users_own_loss_runs_without_a_fork(runs):
    assert losses(runs["user"]) == losses(runs["hinge"])


@pytest.mark.parametrize(
    ("ours", "stock"),
    [("our-sigmoid", "stock-sigmoid"), ("our-ld", "stock-ld"), ("orpo", "stock-orpo"), ("simpo", "stock-simpo")],
)
def test_our_trainer_agrees_with_llamafactorys_where_it_is_right(runs, ours, stock):
    assert on_off(runs[ours])[0] == set(SPEEDUPS) and on_off(runs[stock])[0] == set()
    for mine, theirs in zip(runs[ours].state["log_history"], runs[stock].state["log_history"], strict=True):
        assert set(theirs) <= set(mine)
        for key in theirs:
            # theirs average logits/chosen and logits/rejected over prompt and padding too, ours over the responses
            if not key.endswith(("runtime", "per_second")) and not key.startswith("logits/"):
                # beta (0.1) times a difference of log-probabilities, which two orders of summing leave apart by one
                # or two steps of float32, 2^-16 between 128 and 256
                close = 0.1 * 2 * 2**-16 if key.startswith("rewards/") else 1e-6
                assert mine[key] == pytest.approx(theirs[key], rel=1e-5, abs=close), key


def test_a_mix_is_llamafactorys_bco_weight_and_ftx(runs):
    assert losses(runs["mpo"]) == pytest.approx(losses(runs["our-sigmoid"]), rel=1e-5)
    parts = [runs["mpo"].logged(f"{part}/loss")[0][0] for part in ("sigmoid", "bco_pair", "sft")]
    weights = (1 / 1.3, 0.3 / 1.3, 0.5)
    whole = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    assert whole == pytest.approx(losses(runs["mpo"])[0], rel=1e-4)
    assert "pref_loss: sigmoid,bco_pair,sft (beta 0.1, weights [" in runs["mpo"].output


def test_average_log_prob_is_asked_for_not_imposed(runs):
    (mean,), (total,) = runs["mean-sigmoid"].logged("logps/chosen")[:1], runs["sigmoid"].logged("logps/chosen")[:1]
    assert total[0] < 5 * mean[0] < 0, "means a token are several times smaller than sums"
    (uni,), (sums,) = runs["uni_dpo"].logged("logps/chosen")[:1], runs["sum-uni"].logged("logps/chosen")[:1]
    assert uni == pytest.approx(mean) and sums == pytest.approx(total)


@pytest.mark.parametrize("name", ["lora", "freeze", "ref_model"])
def test_finetuning_types_and_references(runs, name):
    first, *_ = losses(runs[name])
    assert first == pytest.approx(losses(runs["uni_dpo"])[0], rel=1e-6), "same model and reference at step 1"
    assert runs[name].logged("logits")[0] == (pytest.approx(0.0, abs=1e-6),)
    assert runs[name].logged("logits")[-1] != (0.0,)
