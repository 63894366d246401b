# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/kto.md: its recipe and its command work, and it names every key of the stage."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import yaml

from conftest import DATA, base_recipe
from resonance.arguments import feedback
from resonance.cli.main import main

DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "kto.md").read_text(encoding="utf-8")


def test_the_command_makes_the_set_that_the_recipe_trains_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copy(DATA / "pairs.json", "data/my_pairs.json")
    info = {
        "my_pairs": {**json.loads((DATA / "dataset_info.json").read_text())["pairs"], "file_name": "my_pairs.json"}
    }
    Path("data/dataset_info.json").write_text(json.dumps(info))
    (command,) = re.findall(r"^resonance (data .*)$", DOCUMENT, re.MULTILINE)
    assert main(shlex.split(command)) == 0
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    recipe = base_recipe(tmp_path / "out", **yaml.safe_load(text)) | {"dataset_dir": "data"}
    assert feedback.runs_on_resonance(recipe) and feedback.problems(recipe) == []


def test_all_keys_are_named():
    of_the_readme = {"ref_log_probs_dir", "precompute_only"}
    missing = [key for key in (*feedback.KEYS, *feedback.SHARED) if f"`{key}" not in DOCUMENT]
    assert set(missing) == of_the_readme
