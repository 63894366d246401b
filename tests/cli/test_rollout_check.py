# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance rollout-check` as far as it needs no model; tests/training/test_served_rollouts.py has the rest."""

from __future__ import annotations

import pytest

from resonance.cli.main import main

RECIPE = """\
model_name_or_path: my/model
stage: ppo
output_dir: out
rollout_backend: vllm
rollout_url: [http://127.0.0.1:8000, http://127.0.0.1:8001]
finetuning_type: full
bf16: true
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return "recipe.yaml"


def test_the_commands_of_a_recipe(recipe, capsys):
    assert main(["rollout-check", recipe, "cutoff_len=512", "--print-command"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith("VLLM_SERVER_DEV_MODE=1 vllm serve my/model") for line in lines)
    assert "--port 8001" in lines[1] and "--max-model-len 1536" in lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.yaml"], "nowhere.yaml: No such file"),
        (["recipe.yaml", "rollout_backend=local"], "recipe.yaml: its policy generates by itself; add"),
        (["recipe.yaml", "rollout_url=null", "output_dir=null"], "rollout_url: rollout_backend: vllm needs one"),
    ],
)
def test_what_is_no_recipe_with_servers(recipe, capsys, words, message):
    assert main(["rollout-check", *words]) == 2
    assert message in capsys.readouterr().err
