# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Keys of KTO: which recipes run on our trainer, and what is wrong with them."""

from __future__ import annotations

import json

import pytest
from llamafactory.hparams import parser

from conftest import base_recipe
from resonance.arguments import recipe as whole
from resonance.arguments.feedback import loss_parameters, problems, runs_on_resonance
from resonance.arguments.idle import does_nothing
from resonance.arguments.policy_recipe import stage_problems
from resonance.hooks import routes

TAGGED = {"file_name": "kto.json", "columns": {"prompt": "instruction", "response": "response", "kto_tag": "good"}}
PAIRS = {"file_name": "pairs.json", "ranking": True}


def recipe(tmp_path, info=None, **changes):
    (tmp_path / "dataset_info.json").write_text(json.dumps(info or {"kto": TAGGED}))
    return base_recipe(tmp_path / "out", stage="kto", dataset="kto", dataset_dir=str(tmp_path), **changes)


@pytest.mark.parametrize(
    ("keys", "ours"),
    [
        ({}, False),
        ({"data_ratio": 0.5}, False),
        ({"kto_engine": "resonance"}, True),
        ({"overlong": "drop"}, True),
        ({"max_target_length": 50}, True),
        ({"sample_weights": True}, True),
        ({"precompute_ref_log_probs": True}, True),
    ],
)
def test_stock_recipes_stay_llamafactorys(keys, ours, tmp_path):
    values = recipe(tmp_path, **keys)
    assert runs_on_resonance(values) is ours
    route = routes.find(values)
    assert (route is not None and "kto_trainer" in route.scopes) is ours
    assert not runs_on_resonance({**values, "stage": "dpo"}) and not runs_on_resonance({**values, "stage": "ppo"})


def test_nothing_is_wrong_with_a_right_recipe(tmp_path):
    given = recipe(tmp_path, kto_engine="resonance", pref_speedups=False, pref_beta=0.3, pref_ftx=0.1)
    given |= {
        "image_feature_cache": "8GB",
        "overlong": "shrink_image",
        "max_target_length": 50,
        "image_root": "images",
    }
    assert problems(given) == []
    whole.check({key: value for key, value in given.items() if key not in ("media_dir",)}, parser)
    assert loss_parameters({**given, "kto_chosen_weight": 2, "kto_rejected_weight": 1.0}) == {
        "beta": 0.3, "chosen_weight": 2.0, "rejected_weight": 1.0,
    }  # fmt: skip


def test_all_that_is_wrong(tmp_path):
    found = problems(
        recipe(
            tmp_path,
            kto_engine="resonanse",
            pref_beta=0,
            kto_chosen_weight=-1,
            pref_ftx="much",
            pref_speedups="fast",
            sample_weights="yes",
            uni_dpo_tau_ref=1.0,
            packing=True,
            torch_compile=True,
        )
    )
    keys = {line.partition(":")[0] for line in found}
    wanted = "kto_engine pref_beta kto_chosen_weight pref_ftx pref_speedups sample_weights uni_dpo_tau_ref packing"
    assert keys == {*wanted.split(), "torch_compile", "dataset"}, found  # of the set: it has no weights
    assert any("'kto' declares no weight" in line for line in found)


def test_weights_that_learn_nothing(tmp_path):
    (line,) = problems(recipe(tmp_path, kto_chosen_weight=0, kto_rejected_weight=0.0))
    assert "nothing would be learned" in line


@pytest.mark.parametrize("keys", [{}, {"kto_engine": "resonance"}])
def test_pairs_are_refused_with_the_command_that_makes_answers_of_them(keys, tmp_path):
    given = recipe(tmp_path, {"kto": PAIRS}, **keys)
    with pytest.raises(ValueError, match="'kto'.* has pairs, and stage: kto takes one answer a row; `resonance data"):
        whole.check(given, parser)


def test_a_set_without_tags_is_refused(tmp_path):
    given = recipe(tmp_path, {"kto": {**TAGGED, "columns": {"prompt": "instruction"}}}, kto_engine="resonance")
    assert any('declares no kto_tag; add to its "columns"' in line for line in problems(given))


def test_evaluating_needs_a_reference_model(tmp_path):
    given = recipe(tmp_path, kto_engine="resonance", do_train=False, do_eval=True)
    assert any(line.startswith("ref_model: evaluating KTO") for line in problems(given))
    assert problems({**given, "ref_model": "another"}) == []
    assert does_nothing({**given, "do_eval": False}) and not does_nothing({**given, "kto_engine": "llamafactory"})


def test_a_key_that_llamafactorys_trainer_does_not_read(tmp_path):
    with pytest.raises(
        ValueError, match="pref_speedups: LlamaFactory's trainer of KTO .* add `kto_engine: resonance`"
    ):
        whole.check_idle(recipe(tmp_path, pref_speedups="off"))


def test_the_key_belongs_to_its_stage(tmp_path):
    given = {**recipe(tmp_path, kto_engine="resonance"), "stage": "sft"}
    assert stage_problems(given) == ["kto_engine: has a meaning in stage: kto only"]


def test_a_changed_weight_of_a_side_is_another_recipe(tmp_path):
    """What a run goes on from was made with the same weights; other stages do not read them."""
    from llamafactory.hparams import get_train_args

    from resonance.training.context import RunArguments
    from resonance.training.record import run_record

    kept = {}
    for stage in ("kto", "dpo"):
        given = {**recipe(tmp_path, {"kto": TAGGED if stage == "kto" else PAIRS}), "stage": stage}
        args = get_train_args({**given, "kto_rejected_weight": 0.5})
        kept[stage] = run_record(RunArguments(*args[:4]))["settings"]
    assert kept["kto"]["kto_rejected_weight"] == 0.5 and "kto_rejected_weight" not in kept["dpo"]
    assert "kto_engine" not in kept["kto"]
