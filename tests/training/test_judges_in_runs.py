# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whole runs with a judge: it fails in the middle, the run goes on from its checkpoint, and its key is nowhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import SCRIPTS
from resonance.arguments.resume import newest_complete
from training.policies import policy_recipe, write_policy

KEY = "s3cret-of-the-judge"
REWARD = """
import pathlib

def rate(completions, prompts, images, answer):
    with open("judged.txt", "a") as file:
        file.write("".join(f"{number} {len(pictures)}\\n" for number, pictures in zip(answer, images)))
    if pathlib.Path("broken").exists() and len(open("judged.txt").readlines()) > 8:
        raise RuntimeError("out of service, and your key is s3cret-of-the-judge")
    return [len(set(text)) / 10 for text in completions]
"""


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a judge that wants a key."""
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "judging.py").write_text(REWARD)
    command = [SCRIPTS / "resonance", "serve-reward", "judging:rate", "--port", "0", "--key-env", "JUDGE_KEY"]
    env = {"JUDGE_KEY": KEY, "PATH": str(SCRIPTS)}
    with subprocess.Popen(command, cwd=tmp_path / "judge", env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.kill()


@pytest.mark.slow
def test_a_judge_that_fails_leaves_a_whole_checkpoint_and_its_key_is_nowhere(tmp_path, recipe, train, judge):
    write_policy(tmp_path)

    def run(**entry):
        entry = {"url": judge, "key_env": "JUDGE_KEY", "columns": ["answer"], "cache": "scores", **entry}
        keys = {"ppo_buffer_size": 1, "ppo_epochs": 1, "max_steps": 4, "save_strategy": "steps", "save_steps": 1}
        rewards = [{"retries": 0, **entry}, {"name": "length", "max_length": 6}]
        changes = policy_recipe(tmp_path, rewards=rewards, **keys)
        return train(recipe(**changes), check=False, JUDGE_KEY=KEY)

    (tmp_path / "judge" / "broken").touch()
    stopped = run(batch_size=2)
    out = stopped.output_dir
    assert stopped.returncode == 1
    host = judge.removeprefix("http://")
    assert f"ValueError: rewards[0] ({host}): POST {judge}/v1/score: status 500:" in stopped.output
    assert "judging:rate raised RuntimeError: out of service, and your key is ***" in stopped.output
    found = newest_complete(str(out))
    assert found is not None and rollouts(out) == list(range(int(found.name.rpartition("-")[2])))

    (tmp_path / "judge" / "broken").unlink()
    resumed = run(retries=1, timeout=30, concurrency=2)
    assert resumed.returncode == 0, resumed.output[-3000:]
    assert rollouts(out) == [0, 1, 2, 3]
    lines = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    assert all(line["rewards"]["judge"] == len(set(line["completion"])) / 10 for line in lines)
    assert {"reward/judge", "refused/judge"} <= {name for entry in resumed.state["log_history"] for name in entry}

    for path in (path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "judge" not in path.parents):
        assert KEY.encode() not in path.read_bytes(), path
    assert "JUDGE_KEY" in (out / "resonance_recipe.yaml").read_text()


def rollouts(folder):
    """Numbers of the rollouts in `completions.jsonl`, which are whole."""
    found = [json.loads(line)["rollout"] for line in (folder / "completions.jsonl").read_text().splitlines()]
    numbers = sorted(set(found))
    assert found == [number for number in numbers for _ in range(4)]
    return numbers
