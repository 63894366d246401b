# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whole runs of `stage: ppo` on bad input: a clear message, exit code 1, and the last checkpoint whole."""

from __future__ import annotations

import json

import pytest

from conftest import DATA
from resonance.arguments.resume import newest_complete

METRICS = """
    reward reward/rate reward_std frac_zero_std kl entropy clip_ratio/low clip_ratio/high clip_ratio/region
    completions/mean_length completions/max_length completions/clipped_ratio value_loss explained_variance
    rollout/logp_diff rollout/ess rollout/dropped time/generate time/reward time/reference time/update
""".split()
REWARD = """
import pathlib

def rate(completions, number):
    if pathlib.Path("broken").exists():
        calls = pathlib.Path("calls")
        calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
        if len(calls.read_text()) == 3:
            raise RuntimeError("out of service")
    return [len(set(text)) / 10 for text in completions]
"""


@pytest.fixture
def policy(tmp_path, recipe, train):
    """Run PPO with changes on prompts of the golden pairs; it is rewarded by `my_rewards.py` beside the recipe."""
    pairs = json.loads((DATA / "pairs.json").read_text())
    rows = [{"instruction": pair["instruction"], "images": pair["images"], "number": 1} for pair in pairs]
    (tmp_path / "prompts.json").write_text(json.dumps(rows))
    columns = {"prompt": "instruction", "images": "images"}
    (tmp_path / "dataset_info.json").write_text(
        json.dumps({"prompts": {"file_name": "prompts.json", "columns": columns}})
    )
    (tmp_path / "my_rewards.py").write_text(REWARD)
    base = {
        "stage": "ppo",
        "num_generations": 2,
        "rewards": [{"function": "my_rewards:rate"}],
        "dataset_dir": str(tmp_path),
        "dataset": "prompts",
        "max_new_tokens": 6,
        "ppo_buffer_size": 1,
        "ppo_epochs": 1,
        "num_train_epochs": None,
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 1,
    }
    return lambda **changes: train(recipe(**base | changes), check=False)


def test_a_reward_that_raises_leaves_the_last_checkpoint_to_resume_from(policy, tmp_path):
    (tmp_path / "broken").touch()
    stopped = policy()
    assert stopped.returncode == 1
    assert "ValueError: rewards[0] (my_rewards:rate) raised RuntimeError: out of service" in stopped.output
    out = stopped.output_dir
    assert newest_complete(str(out)) == out / "checkpoint-2"
    assert rollouts(out) == [0, 1] and "<h2>Rollout 1," in (out / "completions.html").read_text()

    (tmp_path / "broken").unlink()
    resumed = policy()
    assert resumed.returncode == 0, resumed.output[-3000:]
    assert rollouts(out) == [0, 1, 2, 3] and "<h2>Rollout 3," in (out / "completions.html").read_text()
    logged = {name for line in resumed.state["log_history"] for name in line}
    assert [name for name in METRICS if name not in logged] == []
    (warned,) = (line for line in stopped.output.splitlines() if "are cut off at max_new_tokens" in line)
    assert "Step 1: completions/clipped_ratio: " in warned
    assert "are cut off at max_new_tokens" not in resumed.output, "the run before has warned of it"


def test_an_unknown_column_stops_the_run_before_a_model_is_loaded(policy):
    stopped = policy(rewards=[{"name": "exact", "answer": "numbr"}, {"name": "choice", "answer": "letter"}])
    assert stopped.returncode == 1
    assert "rewards[0] (exact): the data has no column 'numbr' (nearest: number" in stopped.output
    assert "rewards[1] (choice): the data has no column 'letter'" in stopped.output
    assert "model.safetensors" not in stopped.output and "trainable params" not in stopped.output


def rollouts(folder):
    """Numbers of the rollouts in `completions.jsonl`, which are whole."""
    found = [json.loads(line)["rollout"] for line in (folder / "completions.jsonl").read_text().splitlines()]
    numbers = sorted(set(found))
    assert found == [number for number in numbers for _ in range(4)]
    return numbers
