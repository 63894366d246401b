# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`stage: rm` on our trainer: what it logs and leaves, that it goes on exactly, and on two ranks."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file

from training.test_ranks import TWO_RANKS

OURS = {"stage": "rm", "rm_engine": "resonance"}
STEPS = {"max_steps": 4, "num_train_epochs": None, "save_strategy": "steps", "save_steps": 2}
LORA = {"finetuning_type": "lora", "lora_rank": 4}
SCORED = {"rm_margin": "score", "rm_margin_scale": 0.1, "rm_weight": "score"}
EVALUATED = {"do_eval": True, "eval_dataset": "pairs", "per_device_eval_batch_size": 3}


@pytest.mark.parametrize(
    "kind", [pytest.param({}, id="full", marks=pytest.mark.slow), pytest.param({**LORA, **SCORED}, id="lora")]
)
def test_a_resumed_run_equals_one_that_never_stopped(train, recipe, tmp_path, kind):
    whole = train(recipe(**OURS, **STEPS, **kind, output_dir=tmp_path / "whole"))
    checkpoint = tmp_path / "checkpoint-2"
    shutil.copytree(whole.output_dir / "checkpoint-2", checkpoint)
    resumed = train(
        recipe(**OURS, **STEPS, **kind, output_dir=tmp_path / "resumed", resume_from_checkpoint=str(checkpoint))
    )
    assert not (resumed.output_dir / "checkpoint-2").exists(), "it has not started anew"
    assert resumed.logged("loss") == whole.logged("loss") and len(whole.logged("loss")) == 4
    files = sorted(path.name for path in whole.output_dir.glob("*.safetensors"))
    assert files == [("adapter_" if kind else "") + "model.safetensors", "value_head.safetensors"]
    for name in files:
        ours, theirs = (load_file(run.output_dir / name) for run in (resumed, whole))
        assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)
    assert set(load_file(whole.output_dir / files[1])) == {"v_head.summary.weight", "v_head.summary.bias"}


def test_llamafactory_reads_what_we_leave_and_we_what_it_leaves(train, recipe, tmp_path):
    """The accuracy, loss and rewards of a saved model are those of the trainer that made it, on either trainer."""
    made = train(recipe(**OURS, **LORA, **EVALUATED, max_steps=3, num_train_epochs=None, plot_loss=True))
    assert {path.name for path in made.output_dir.glob("*.png")} == {"curves.png", "training_loss.png"}
    ours = json.loads((made.output_dir / "eval_results.json").read_text())
    assert ours["eval_rewards/margins"] == pytest.approx(ours["eval_rewards/chosen"] - ours["eval_rewards/rejected"])
    files = {"eval_accuracy/margin<=2", "eval_accuracy/margin<=4"}
    assert files <= set(ours) and 0 <= ours["eval_accuracy/pairs"] <= 1, "by the name of the data set"
    lines = [json.loads(line) for line in (made.output_dir / "pairs.jsonl").read_text().splitlines()]
    margins = [line["reward_margin"] for line in lines if line["split"] == "eval"]
    assert sum(margins) / len(margins) == pytest.approx(ours["eval_rewards/margins"], abs=1e-5)
    again = {**LORA, **EVALUATED, "do_train": False, "adapter_name_or_path": str(made.output_dir), "dataset": None}
    found = {}
    for name, engine in (("ours", "resonance"), ("theirs", "llamafactory")):
        done = train(recipe(stage="rm", rm_engine=engine, **again, do_predict=True, output_dir=tmp_path / name))
        found[name] = json.loads((done.output_dir / "eval_results.json").read_text())
        lines = (done.output_dir / "generated_predictions.jsonl").read_text().splitlines()
        found[f"{name} rewards"] = [json.loads(line) for line in lines]
    assert found["ours"]["eval_accuracy"] == found["theirs"]["eval_accuracy"] == ours["eval_accuracy"]
    assert found["ours"]["eval_loss"] == pytest.approx(ours["eval_loss"], abs=1e-5)
    assert found["ours rewards"] == found["theirs rewards"] and len(found["ours rewards"]) == 32


def test_a_model_without_a_head_is_not_evaluated(train, recipe):
    stopped = train(recipe(**OURS, **EVALUATED, do_train=False, dataset=None), check=False)
    assert stopped.returncode == 1
    assert "has no value head, so there is nothing to evaluate; train it first, in stage: rm." in stopped.output


@pytest.mark.slow
def test_two_ranks_equal_one_with_accumulation(train, recipe, tmp_path):
    common = {**OURS, **SCORED, **EVALUATED, "seed": 7, "per_device_train_batch_size": 2}
    one = train(recipe(**common, gradient_accumulation_steps=2, output_dir=tmp_path / "one"))
    two = train(recipe(**common, output_dir=tmp_path / "two"), **TWO_RANKS)
    names = ("loss", "accuracy", "rewards/chosen", "rewards/rejected")
    for alone, together in zip(one.logged(*names), two.logged(*names), strict=True):
        assert together == pytest.approx(alone, abs=1e-4)
    results = [json.loads((run.output_dir / "eval_results.json").read_text()) for run in (one, two)]
    for key in results[0]:
        if not key.endswith(("runtime", "per_second")):
            assert results[1][key] == pytest.approx(results[0][key], abs=1e-4), key
