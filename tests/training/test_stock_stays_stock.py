# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A recipe that uses none of our keys logs the same bits with and without the package.

"Without" is `RESONANCE_DISABLE=1` for every recipe, and an environment that does not have the package for one.
"""

from __future__ import annotations

import pytest
import yaml

from layered import make_layered_env

TIMING = ("runtime", "per_second", "flos")
DPO = {"stage": "dpo", "logging_steps": 1, "plot_loss": True}
RECIPES = {
    "sft": {"stage": "sft", "dataset": "sft"},
    "rm": {"stage": "rm"},
    "kto": {"stage": "kto", "dataset": "kto", "template": "qwen"},
    "sigmoid": {**DPO, "pref_loss": "sigmoid", "pref_ftx": 0.1},
    "simpo": {**DPO, "pref_loss": "simpo", "pref_beta": 2.0},
    "orpo": {**DPO, "pref_loss": "orpo"},
    "sigmoid-lora": {
        **DPO,
        "pref_loss": "sigmoid",
        "finetuning_type": "lora",
        "lora_rank": 4,
        "dpo_label_smoothing": 0.1,
    },
}


def numbers(run):
    """Every logged number as it stands in trainer_state.json, timings left out."""
    return [
        {key: value for key, value in entry.items() if not key.endswith(TIMING)} for entry in run.state["log_history"]
    ]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_bit_equal_without_us(name, recipe, train, tmp_path, with_sft_set):
    changes = {"dataset_dir": str(with_sft_set), "max_steps": 4, "num_train_epochs": None, **RECIPES[name]}
    live = train(recipe(**changes, output_dir=str(tmp_path / "live")))
    switched_off = train(recipe(**changes, output_dir=str(tmp_path / "off")), RESONANCE_DISABLE="1")
    assert numbers(live) == numbers(switched_off)
    assert sum("loss" in entry for entry in numbers(live)) == 4


@pytest.mark.slow
def test_bit_equal_to_an_environment_without_the_package(recipe, train, tmp_path):
    """With evaluation and checkpoints, so that those pass through stock code too."""
    evaluated = {"eval_dataset": "pairs", "eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps"}
    stock = recipe(pref_loss="sigmoid", **evaluated, save_steps=4, output_dir=str(tmp_path / "with"))
    live = train(stock, fork=False)
    env = make_layered_env(tmp_path / "env")
    assert "No module named 'resonance'" in env.run(env.python, "-c", "import resonance", check=False).stderr
    (tmp_path / "without.yaml").write_text(yaml.safe_dump({**stock, "output_dir": str(tmp_path / "without")}))
    env.run(env.python, "-m", "llamafactory.cli", "train", tmp_path / "without.yaml")
    without = type(live)(0, "", tmp_path / "without")
    assert numbers(live) == numbers(without) and len(live.logged("loss")) == 8
    assert len(live.logged("eval_rewards/accuracies")) == 2


def test_our_keys_are_unknown_when_switched_off(recipe, train):
    run = train(recipe(pref_loss="uni_dpo", uni_dpo_tau_ref=1.0), check=False, RESONANCE_DISABLE="1")
    assert run.returncode and "uni_dpo_tau_ref" in run.output and "HfArgumentParser" in run.output
