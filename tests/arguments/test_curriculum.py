# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`score_order` and `uni_dpo_eta_warmup`: which values there are, and where they would do nothing."""

from __future__ import annotations

import json

import pytest

from resonance.arguments import idle, parameters, preference, recipe
from resonance.arguments.curriculum import warmup_steps

UNI_DPO = {"stage": "dpo", "pref_loss": "uni_dpo", "pref_beta": 2.0}


def test_an_order_is_ours_whatever_the_loss():
    assert preference.runs_on_resonance({"stage": "dpo", "score_order": "ascending"})
    assert parameters.problems({"stage": "dpo", "score_order": "ascending"}) == []


@pytest.mark.parametrize("given", ["up", True, 1])
def test_an_unknown_order(given):
    (found,) = parameters.problems({**UNI_DPO, "score_order": given})
    assert found == f"score_order: {given!r} is not one of ascending, descending"


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"group_by_length": True}, "group_by_length: true"),
        ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy: group_by_length"),
        ({"disable_shuffling": True}, "disable_shuffling: true"),
        ({"streaming": True}, "streaming: true"),
        ({"group_prompts": True}, "group_prompts: true"),
        ({"do_eval": True}, "do_train: false"),
    ],
)
def test_an_order_beside_another_one(other, named):
    (found,) = recipe.run_problems({**UNI_DPO, "ref_model": "m", **other, "score_order": "descending"})
    assert found.startswith(f"score_order: descending does not go with `{named}`, which ")


def test_an_order_needs_scores_of_the_training_set(tmp_path):
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": {"file_name": "a.json", "ranking": True}}))
    given = {"stage": "dpo", "dataset_dir": str(tmp_path), "dataset": "a", "eval_dataset": "a"}
    (found,) = recipe.run_problems({**given, "score_order": "ascending"})
    assert found.startswith("dataset: score_order needs scores, but 'a' declares no score_chosen and score_rejected")
    assert found.endswith("leave `score_order` out")


@pytest.mark.parametrize(("given", "steps"), [(0.1, 4), (0.11, 5), (1, 1), (7, 7), ("0.1", None), ("12", None)])
def test_a_warmup_in_steps_or_as_a_share(given, steps):
    assert parameters.problems({**UNI_DPO, "uni_dpo_eta_warmup": given}) == []
    assert steps is None or warmup_steps(given, 40) == steps


@pytest.mark.parametrize("given", [-1, 1.5, "much", True, float("nan")])
def test_a_warmup_of_nothing(given):
    (found,) = parameters.problems({**UNI_DPO, "uni_dpo_eta_warmup": given})
    assert found.startswith(f"uni_dpo_eta_warmup: {given!r} is not allowed, it must be a whole number of steps, or")


@pytest.mark.parametrize("loss", ["sigmoid", "hinge"])
def test_a_warmup_of_another_loss(loss):
    (found,) = idle.given_without_effect({"stage": "dpo", "pref_loss": loss, "uni_dpo_eta_warmup": 10})
    assert found == f"uni_dpo_eta_warmup: is a parameter of `pref_loss: uni_dpo`, and pref_loss: {loss}"
    assert idle.given_without_effect({"stage": "dpo", "pref_loss": "uni_dpo,sft", "uni_dpo_eta_warmup": 10}) == []
