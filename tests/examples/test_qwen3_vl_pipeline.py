# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""scripts/qwen3_vl_pipeline.sh: the nine steps up to the command that trains, which is only shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from importers import cases_messages, cases_rated

ROOT = Path(__file__).resolve().parents[2]


def pipeline(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"RESONANCE_PYTHON": sys.executable, "TRAIN": "echo trains:"} | variables
    command = ["bash", str(ROOT / "scripts" / "qwen3_vl_pipeline.sh"), "max_steps=1"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_from_the_set_itself(tmp_path: Path) -> None:
    case = next(c for c in (*cases_rated.CASES, *cases_messages.CASES) if c.importer == "topic_overwrite")
    done = pipeline(tmp_path, INPUT=str(case.lay_out(tmp_path / "raw")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "trains: topic_overwrite.yaml dataset_dir=data max_steps=1"
    rows = json.loads((tmp_path / "data" / "topic_overwrite.json").read_text())
    assert len(rows) == len(case.expected) and all(row["images"][0].endswith(".jpg") for row in rows)
    assert "template: qwen3_vl_nothink" in (tmp_path / "topic_overwrite.yaml").read_text()
    assert "topic_overwrite" in json.loads((tmp_path / "data" / "dataset_info.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("place", ["right", "wrong"])
def test_from_a_file_of_another_machine(place: str, tmp_path: Path) -> None:
    (tmp_path / "kaggle").mkdir()
    picture = next((ROOT / "data" / "digits" / "pref").iterdir())
    (tmp_path / "kaggle" / "1.png").write_bytes(picture.read_bytes())
    turns = [{"from": "human", "value": "<image>What is it?"}]
    answers = {side: {"from": "gpt", "value": text} for side, text in (("chosen", "A seven."), ("rejected", "Two."))}
    row = {"conversations": turns, **answers, "images": ["/content/topic/1.png"]}
    (tmp_path / "prepared.json").write_text(json.dumps([row]))
    new = tmp_path / ("kaggle" if place == "right" else "nowhere")
    done = pipeline(tmp_path, PREPARED="prepared.json", OLD="/content/topic", NEW=str(new))
    assert (done.returncode == 0) == (place == "right"), done.stdout + done.stderr
    assert ("trains: " in done.stdout) == (place == "right")
    if place == "right":
        (fixed,) = json.loads((tmp_path / "data" / "topic_overwrite.json").read_text())
        assert fixed["images"] == [str(tmp_path / "kaggle" / "1.png")]
