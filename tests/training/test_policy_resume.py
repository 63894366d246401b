# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Killed with SIGKILL anywhere, the same command goes on to the same completions and the same bits."""

from __future__ import annotations

import json
import signal

import pytest

from conftest import base_recipe, run_recipe
from training.policies import KILLING, policy_recipe, write_policy
from training.test_resume import numbers

# A rollout is used for four steps: checkpoint 3 is in the middle of its second pass, 6 of the next between two passes.
RECIPE = {
    "rewards": [{"function": "killing:letters"}],
    "ppo_target": 0.01,  # an adaptive KL coefficient, and running moments of the rewards
    "ppo_score_norm": True,
    "save_strategy": "steps",
    "save_steps": 3,
    "max_steps": 9,
}
POLICY, ROLLOUT = "resonance.training.policy", "resonance.rollout.local"
KILLS = {
    "generate": (ROLLOUT, "LocalRollout", "sample", 2),
    "reward": ("resonance.training.completions", "Judge", "__call__", 2),
    "pass": (POLICY, "PolicyTrainer", "_passes", 4),
    "update": (POLICY, "PolicyTrainer", "loss_of", 8),
    "save": (POLICY, "PolicyTrainer", "save_rank_state", 2),
    "rollout": ("resonance.training.samples", "SampleLog", "add", 2),
}
RESUMED_FROM = {"update": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_script):
    """Runs a recipe in a folder of that name, which holds the reward; `kill` arms it."""
    data = write_policy(tmp_path_factory.mktemp("policy"))

    def go(name, variant="ppo", kill=None, **changes):
        folder = data.parent / f"{data.name}-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "killing.py").write_text(KILLING)
        if kill is not None:
            (folder / "kill.json").write_text(json.dumps(kill))
        recipe = base_recipe(folder / "out", **policy_recipe(data, variant, **RECIPE, **changes))
        return run_recipe(run_script, recipe, folder)

    return go


@pytest.fixture(scope="module")
def whole(run):
    done = run("whole")
    assert done.returncode == 0, done.output[-4000:]
    return done


def files(run):
    names = ("completions.jsonl", "model.safetensors", "value_head.safetensors")
    return {name: (run.output_dir / name).read_bytes() for name in names}


def numbers_but_times(run):
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in numbers(run)[:-1]]


@pytest.mark.parametrize(
    "where", [pytest.param(name, marks=() if name == "update" else pytest.mark.slow) for name in KILLS]
)
def test_killed_and_resumed(where, run, whole):
    killed = run(where, kill=KILLS[where])
    assert killed.returncode == -signal.SIGKILL, killed.output[-4000:]
    resumed = run(where)
    assert resumed.returncode == 0, resumed.output[-4000:]
    assert f"checkpoint-{RESUMED_FROM.get(where, 3)}" in resumed.output
    assert files(resumed) == files(whole)
    assert numbers_but_times(resumed) == numbers_but_times(whole) and len(numbers_but_times(whole)) == 9
