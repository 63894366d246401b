# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`vision_lr` and `projector_lr` in recipes: what is refused, and by which trainers they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llamafactory.hparams import get_train_args, read_args

from conftest import base_recipe
from resonance.arguments import preference, rates, recipe, reward_model, roads
from resonance.hooks import routes

GIVEN = {"vision_lr": 1e-6, "projector_lr": 1e-5}
THAWED = {**GIVEN, "freeze_vision_tower": False, "freeze_multi_modal_projector": False}


@pytest.mark.parametrize("value", [0, -1e-6, True, "fast", float("nan"), float("inf")])
def test_a_rate_is_a_number_above_0(value):
    (problem,) = rates.problems({"vision_lr": value, "freeze_vision_tower": False})
    assert problem.startswith(f"vision_lr: {value!r} is not allowed, it must be a finite number > 0")


def test_numbers_in_quotes_are_numbers():
    assert rates.problems({"vision_lr": "1e-6", "freeze_vision_tower": False}) == []
    assert rates.rates({"vision_lr": "1e-6"}) == {"vision_lr": 1e-6}


def test_frozen_parts_have_no_rate():
    """Both are frozen by default."""
    assert rates.problems(GIVEN) == [
        "vision_lr: has no effect, because these weights are frozen; add `freeze_vision_tower: false`, or remove it",
        "projector_lr: has no effect, because these weights are frozen; add `freeze_multi_modal_projector: false`, or "
        "remove it",
    ]
    assert rates.problems(THAWED) == rates.problems({}) == []
    trained_whole = {"projector_lr": 1e-5, "additional_target": "visual.merger"}
    assert rates.problems(trained_whole) == []
    assert len(rates.problems({**trained_whole, "finetuning_type": "full"})) == 1


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"use_badam": True}, "use_badam"),
        ({"use_galore": True, "galore_layerwise": True}, "galore_layerwise"),
        ({"use_apollo": True, "apollo_layerwise": True}, "apollo_layerwise"),
        ({"optim": "adalomo"}, "optim"),
        ({"optim": "galore_adamw_layerwise"}, "optim"),
        ({"loraplus_lr_ratio": 16.0, "learning_rate": 0}, "learning_rate"),
        ({"use_adam_mini": True}, "use_adam_mini"),
        ({"use_kt": True}, "use_kt"),
        ({"deepspeed": {"optimizer": {"type": "Adam"}}}, "deepspeed"),
        ({"deepspeed": {"scheduler": {"type": "WarmupLR"}}}, "deepspeed"),
    ],
)
def test_what_cannot_hold_rates_of_parts_is_refused(changes, key):
    (problem,) = rates.problems({**THAWED, **changes})
    assert problem.startswith(f"{key}: ") and "vision_lr and projector_lr" in problem
    assert rates.problems({"stage": "sft", **changes}) == []


def test_a_deepspeed_file_is_read(tmp_path):
    path = tmp_path / f"{'long' * 20}.json"
    path.write_text(json.dumps({"optimizer": {"type": "Adam"}, "zero_optimization": {"stage": 2}}))
    (problem,) = rates.problems({**THAWED, "deepspeed": str(path)})
    assert problem.startswith(f"deepspeed: {path} has `optimizer`")
    path.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    assert rates.problems({**THAWED, "deepspeed": str(path)}) == []


@pytest.mark.parametrize("as_flags", [False, True])
def test_a_recipe_is_refused_whichever_way_it_is_given(as_flags, tmp_path):
    given: dict[str, Any] = base_recipe(tmp_path, stage="sft", vision_lr=1e-6, freeze_vision_tower=True)
    args = [word for key, value in given.items() for word in (f"--{key}", str(value))] if as_flags else given
    with pytest.raises(ValueError, match="vision_lr: has no effect, because these weights are frozen"):
        get_train_args(args if as_flags else read_args(args))


def test_which_trainer_reads_them():
    """Ours in the stages that have one, LlamaFactory's own in the others."""
    assert preference.runs_on_resonance({"stage": "dpo", **GIVEN})
    assert reward_model.runs_on_resonance({"stage": "rm", **GIVEN})
    for stage in ("sft", "pt", "kto"):
        found = routes.scopes({"stage": stage, **GIVEN})
        assert f"{stage}_trainer" in found and f"run_{stage}" in found
        both = routes.scopes({"stage": stage, **GIVEN, "data_ratio": 0.5})
        assert {f"{stage}_trainer", "align", "selection"} <= set(both)
        assert routes.find({"stage": stage}) is None


def test_where_nothing_of_ours_runs_they_are_refused():
    assert recipe.needs_resonance(GIVEN)
    assert [line.split(":")[0] for line in roads.v1_problems(GIVEN)] == list(GIVEN)
    found = roads.road_problems({"stage": "sft", "use_hyper_parallel": True, **GIVEN}, ())
    assert [line.split(":")[0] for line in found] == list(GIVEN)
