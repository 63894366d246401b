# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A weight that the checkpoint lacks stops the run by name, unless the recipe allows it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

MODEL = Path(__file__).parents[1] / "golden" / "trajectory" / "model"
SHORT = {"pref_loss": "uni_dpo", "max_steps": 1, "num_train_epochs": None}


def checkpoint(folder: Path, change) -> str:
    shutil.copytree(MODEL, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, train_many):
    folder = tmp_path_factory.mktemp("models")
    headless = checkpoint(folder / "headless", lambda weights: weights.pop("lm_head.weight"))
    extra = checkpoint(folder / "extra", lambda weights: weights.update(stray=weights["lm_head.weight"][:2].clone()))
    lora = {"finetuning_type": "lora", "lora_rank": 4}
    return train_many(
        {
            "policy": {**SHORT, "model_name_or_path": headless},
            "reference": {**SHORT, "ref_model": headless},
            "lora": {**SHORT, "model_name_or_path": headless, **lora},
            "allowed": {**SHORT, "model_name_or_path": headless, "allow_missing_weights": True},
            "unused": {**SHORT, "model_name_or_path": extra},
            "stock": {**SHORT, "pref_loss": "sigmoid", "model_name_or_path": headless},
        }
    )


@pytest.mark.parametrize("name", ["policy", "reference", "lora"])
def test_a_missing_lm_head_stops_the_run_by_name(runs, name):
    run = runs[name]
    assert run.returncode and "lacks 1 weight(s) of the model: lm_head.weight" in run.output
    assert "headless" in run.output and "allow_missing_weights: true" in run.output
    assert not (run.output_dir / "trainer_state.json").exists()


def test_the_recipe_can_allow_it(runs):
    assert runs["allowed"].returncode == 0
    assert "lm_head.weight. They would be initialised at random, as `allow_missing_weights: true` permits" in (
        runs["allowed"].output
    )


def test_an_unused_weight_is_reported(runs):
    assert runs["unused"].returncode == 0
    assert "has 1 weight(s) that the model does not use: stray" in runs["unused"].output


def test_stock_recipes_are_left_to_llamafactory(runs):
    assert runs["stock"].returncode == 0 and "lacks 1 weight" not in runs["stock"].output
