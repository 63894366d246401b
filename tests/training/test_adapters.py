# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LoRA: the reference is the model with its adapters off, or the one that the recipe names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

MODEL = str(Path(__file__).parents[1] / "golden" / "trajectory" / "model")
LORA = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "finetuning_type": "lora", "lora_rank": 4, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def trained(train_many):
    runs = train_many({"whole": {**LORA, "save_strategy": "steps", "save_steps": 4}})
    assert runs["whole"].returncode == 0, runs["whole"].output[-4000:]
    return runs["whole"]


@pytest.fixture(scope="module")
def later(trained, train_many):
    adapter = {"adapter_name_or_path": str(trained.output_dir)}
    evaluate = {"do_train": None, "dataset": None, "do_eval": True, "eval_dataset": "pairs"}
    resume = {"resume_from_checkpoint": str(trained.output_dir / "checkpoint-4")}
    short = {"max_steps": 1, "num_train_epochs": None}
    return train_many(
        {
            "evaluate": {**LORA, **adapter, **evaluate, "ref_model": MODEL},
            "no-reference": {**LORA, **adapter, **evaluate},
            "resume": {**LORA, **resume},
            "continue": {**LORA, **adapter, **short},
            "new-adapter": {**LORA, **adapter, **short, "create_new_adapter": True},
        }
    )


def test_evaluation_alone_needs_a_reference_and_uses_it(later):
    assert later["no-reference"].returncode
    assert "ref_model: evaluating pref_loss: uni_dpo without training needs" in later["no-reference"].output
    run = later["evaluate"]
    assert run.returncode == 0, run.output[-4000:]
    results = json.loads((run.output_dir / "all_results.json").read_text())  # evaluation alone writes no trainer state
    assert results["eval_logits"] > 0.05, "a policy compared with itself would have 0"
    assert results["eval_rewards/margins"] == pytest.approx(2.0 * results["eval_logits"], rel=1e-4)


def test_resume_is_bit_equal(later, trained):
    assert later["resume"].returncode == 0, later["resume"].output[-4000:]
    names = ("loss", "grad_norm", "logps/chosen", "logits")
    assert later["resume"].logged(*names) == trained.logged(*names)


def test_what_the_reference_is_when_an_adapter_is_trained_further(later):
    for name in ("continue", "new-adapter"):
        assert later[name].returncode == 0, later[name].output[-4000:]
    warned = "The reference is the base model without"
    assert warned in later["continue"].output and warned not in later["new-adapter"].output
    ((further,),), ((anew,),) = later["continue"].logged("logits"), later["new-adapter"].logged("logits")
    assert abs(anew) < 1e-6 < abs(further)
