# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a trained policy leaves: the best model with its value head, in a folder that trains on and evaluates again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.policies import LORA, policy_recipe, write_policy
from training.test_policy_resume import numbers_but_times
from training.test_ranks import ROOT, TWO_RANKS

EVALUATED = {
    "eval_dataset": "heldout",
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "max_steps": 4,
    "load_best_model_at_end": True,
    "eval_num_generations": 2,
}
ONLY_EVALUATED = {
    "do_train": False,
    "do_eval": True,
    "dataset": None,
    "eval_dataset": "heldout,prompts",
    "eval_on_each_dataset": True,
}
ZERO3 = {"deepspeed": str(ROOT / "examples" / "deepspeed" / "ds_z3_config.json"), "use_cpu": None}
HEAD = "value_head.safetensors"
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policy"))


def same(one: Path, other: Path) -> bool:
    mine, theirs = load_file(one), load_file(other)
    assert set(mine) == set(theirs)
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("way", ["lora", pytest.param("full", marks=slow), pytest.param("zero3", marks=slow)])
def test_the_best_model_by_its_reward_is_kept_and_goes_on(way, data, recipe, train, tmp_path):
    changes = {"full": {}, "lora": LORA, "zero3": ZERO3}[way]
    ranks = TWO_RANKS if way == "zero3" else {}
    run = train(recipe(**policy_recipe(data, "ppo", **EVALUATED, **changes)), **ranks)
    rewards = run.logged("step", "eval_reward", "eval_sampled_reward")
    assert [step for step, *_ in rewards] == [2, 4]
    best = Path(run.state["best_model_checkpoint"])
    assert best.name == "checkpoint-2" and run.state["best_metric"] == rewards[0][1]

    weights = "adapter_model.safetensors" if way == "lora" else "model.safetensors"
    last = run.output_dir / "checkpoint-4"
    for name in (weights, HEAD):
        assert same(run.output_dir / name, best / name), name
        assert not same(run.output_dir / name, last / name), name
    assert not [name for name in load_file(best / weights) if "value_head" in name]
    assert bool(load_file(best / HEAD)["weight"].any()), "it has learned"

    here = {"adapter_name_or_path" if way == "lora" else "model_name_or_path": str(run.output_dir)}
    on = train(
        recipe(**policy_recipe(data, "ppo", **{**changes, **here, "max_steps": 1}, output_dir=str(tmp_path / "on"))),
        **ranks,
    )
    assert f"The critic starts with the value head of {run.output_dir / HEAD}" in on.output
    evaluated = train(
        recipe(**policy_recipe(data, "ppo", **{**changes, **here, **ONLY_EVALUATED}, output_dir=str(tmp_path / "e"))),
        **ranks,
    )
    results = json.loads((evaluated.output_dir / "eval_results.json").read_text())
    assert results["eval_heldout_reward"] == pytest.approx(run.state["best_metric"])
    assert "eval_prompts_reward" in results and "Created reference model" not in evaluated.output


@slow
@pytest.mark.parametrize("engine", [ZERO3, {}], ids=["zero3", "ddp"])
@pytest.mark.parametrize("way", ["full", "lora"])
def test_two_ranks_resume_to_the_same_bits(way, engine, data, recipe, train, tmp_path):
    changes = {**engine, **(LORA if way == "lora" else {}), "save_strategy": "steps", "save_steps": 3}
    whole = train(recipe(**policy_recipe(data, "ppo", **changes)), **TWO_RANKS)
    changes["resume_from_checkpoint"] = str(whole.output_dir / "checkpoint-3")
    resumed = train(recipe(**policy_recipe(data, "ppo", **changes), output_dir=str(tmp_path / "resumed")), **TWO_RANKS)
    assert numbers_but_times(resumed) == numbers_but_times(whole)
    weights = "adapter_model.safetensors" if way == "lora" else "model.safetensors"
    assert all(same(resumed.output_dir / name, whole.output_dir / name) for name in (weights, HEAD))
