# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""scripts/quickstart.sh end to end, in this environment and a copy of the checkout; what a failing step says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("model", "sft", "eval_before", "uni_dpo", "eval_after")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("data", "examples", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def quickstart(root: Path, env: dict[str, str], *method: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(root / "scripts" / "quickstart.sh"), *method],
        env=env | {"RESONANCE_PYTHON": sys.executable},
        cwd=root.parent,  # any folder will do
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
def test_quickstart_raises_held_out_accuracy(copy: Path, cli_env: dict[str, str]) -> None:
    done = quickstart(copy, cli_env)
    assert done.returncode == 0, done.stdout + done.stderr
    out = copy / "saves" / "quickstart"
    before, after = (
        json.loads((out / name / "all_results.json").read_text())["eval_rewards/accuracies"]
        for name in ("eval_before", "eval_after")
    )
    assert 0.55 <= before <= 0.8, "the warm-up has to leave room"
    assert after >= before + 0.1

    assert f"before Uni-DPO   {before:6.1%}" in done.stdout
    assert f"after Uni-DPO    {after:6.1%}" in done.stdout
    assert re.search(r"wall time +\d+ s", done.stdout)
    curves = {path.name for path in (out / "uni_dpo").glob("*.png")}
    assert {"training_loss.png", "training_eval_loss.png", "training_rewards_accuracies.png", "curves.png"} == curves
    for name in ("trainer_log.jsonl", "trainer_state.json", "all_results.json"):
        assert (out / "uni_dpo" / name).is_file() and name in done.stdout
    assert {path.stem for path in (out / "logs").iterdir()} == set(STEPS)
    assert {path.name for path in copy.iterdir()} == {"data", "examples", "scripts", "saves"}


@pytest.mark.slow
def test_grpo_raises_held_out_accuracy_from_the_model_that_is_there(copy: Path, cli_env: dict[str, str]) -> None:
    recipe = copy / "examples" / "quickstart" / "grpo.yaml"
    recipe.write_text(recipe.read_text().replace("max_steps: 400", "max_steps: 160"))  # it goes on learning
    done = quickstart(copy, cli_env, "grpo")
    assert done.returncode == 0, done.stdout + done.stderr
    out = copy / "saves" / "quickstart"
    history = json.loads((out / "grpo" / "trainer_state.json").read_text())["log_history"]
    before, *_, after = (entry["eval_reward"] for entry in history if "eval_reward" in entry)
    assert 0.45 <= before <= 0.7 and after >= before + 0.1
    assert f"before GRPO      {before:6.1%}" in done.stdout and f"after GRPO       {after:6.1%}" in done.stdout
    assert (out / "grpo" / "completions.html").is_file() and (out / "grpo" / "training_reward.png").is_file()
    made = (out / "sft" / "train_results.json").stat().st_mtime_ns
    (copy / "examples" / "quickstart" / "grpo.yaml").write_text("stage: grpo\n")
    assert "ppo_variant: grpo" in quickstart(copy, cli_env, "grpo").stderr
    assert (out / "sft" / "train_results.json").stat().st_mtime_ns == made, "the warm-up is not done again"


def test_a_method_that_is_not_there_is_refused(copy: Path, cli_env: dict[str, str]) -> None:
    done = quickstart(copy, cli_env, "grop")
    assert done.returncode == 2 and "allowed: uni_dpo, grpo, ppo" in done.stderr


def test_a_failing_step_shows_the_end_of_its_log_and_where_it_is(copy: Path, cli_env: dict[str, str]) -> None:
    stale = copy / "saves" / "quickstart" / "model"
    stale.mkdir(parents=True)
    (stale / "config.json").write_text("from an earlier run")
    (copy / "scripts" / "make_tiny_model.py").write_text("raise SystemExit('no space left')")
    done = quickstart(copy, cli_env)
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert str(copy / "saves" / "quickstart" / "logs" / "model.log") in done.stderr
    assert not stale.exists(), "what an earlier run left must not pass for this one's"
    assert "SFT" not in done.stdout
