# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Keys of reward models: which recipes run on our trainer, and what is wrong with them."""

from __future__ import annotations

import pytest

from conftest import base_recipe
from resonance.arguments.reward_model import loss_parameters, misplaced, problems, runs_on_resonance
from resonance.hooks import routes


def recipe(tmp_path, **changes):
    return base_recipe(tmp_path / "out", stage="rm", **changes)


@pytest.mark.parametrize(
    ("keys", "ours"),
    [
        ({}, False),
        ({"rm_engine": "llamafactory"}, False),
        ({"rm_engine": "resonance"}, True),
        ({"rm_margin": "score"}, True),
        ({"rm_margin": False}, False),  # `off` in YAML
        ({"rm_weight": "score"}, True),
    ],
)
def test_stock_recipes_stay_llamafactorys(keys, ours, tmp_path):
    values = recipe(tmp_path, **keys)
    assert runs_on_resonance(values) is ours
    route = routes.find(values)
    assert (route is not None and "rm_model" in route.scopes) is ours
    assert not runs_on_resonance({**values, "stage": "dpo"})


def test_parameters_of_the_loss():
    values = {"rm_margin": "score", "rm_margin_scale": 0.5, "rm_weight": False, "rm_weight_eta": 0.7}
    assert loss_parameters(values) == {"margin_scale": 0.5, "weight_eta": 0.0}


def test_nothing_is_wrong_with_a_right_recipe(tmp_path):
    given = recipe(tmp_path, rm_margin="score", rm_margin_scale=0.5, pref_speedups=False, group_prompts="auto")
    assert problems(given) == [] and misplaced(given) == []


def test_all_that_is_wrong(tmp_path):
    found = problems(
        recipe(
            tmp_path,
            rm_engine="resonanse",
            rm_margin="scores",
            rm_weight_eta=-1,
            pref_speedups="fast",
            image_feature_cache="8GB",
            stop_after_nonfinite=-1,
            torch_compile=True,
            dataset="pears",
        )
    )
    keys = [line.partition(":")[0] for line in found]
    assert keys == [
        "rm_engine",
        "rm_margin",
        "rm_weight_eta",
        "pref_speedups",
        "stop_after_nonfinite",
        "torch_compile",
        "image_feature_cache",
        "dataset",
    ]
    assert "'scores' is not one of off, score" in found[1] and "nearest: pairs" in found[-1]


def test_keys_without_effect(tmp_path):
    assert misplaced(recipe(tmp_path, rm_margin_scale=2.0)) == [
        "rm_margin_scale: has no effect without `rm_margin: score`"
    ]
    assert misplaced({"stage": "dpo", "rm_engine": "resonance"}) == ["rm_engine: has a meaning in stage: rm only"]


def test_a_set_without_scores_is_named_before_anything_is_loaded(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"pairs": {"file_name": "pairs.json", "ranking": true}}')
    (line,) = problems(recipe(tmp_path, dataset_dir=str(tmp_path), rm_margin="score"))
    assert "rm_margin: score needs scores, but 'pairs' declares no score_chosen and score_rejected" in line
    assert line.endswith("or, if its rows have no scores, leave `rm_margin` out")
