# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance compare`, from made-up logs of runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from resonance.cli.main import main


@pytest.fixture
def saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, accuracy in (("uni", 0.8), ("sigmoid", 0.6)):
        log = [
            {"step": step, "epoch": step / 4, "loss": 1 / step, "rewards/accuracies": accuracy} for step in (1, 2, 4)
        ]
        log.append({"step": 4, "eval_loss": 0.3, "eval_rewards/accuracies": accuracy / 2, "eval_runtime": 3.0})
        if name == "uni":
            log[0]["w_perf"] = 0.9
        Path("saves", name).mkdir(parents=True)
        Path("saves", name, "trainer_state.json").write_text(json.dumps({"log_history": log}))
    return tmp_path / "saves"


def test_last_values_stand_side_by_side_with_their_meaning(saves, capsys):
    assert main(["compare", "saves/uni", "saves/sigmoid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["LAST", "VALUE", "OF", "saves/uni", "saves/sigmoid", "WHAT"]
    found = {line.split()[0]: line.split()[1:3] for line in lines[1:]}
    assert found["loss"] == ["0.25", "0.25"] and found["rewards/accuracies"] == ["0.8", "0.6"]
    assert found["eval_rewards/accuracies"] == ["0.4", "0.3"] and found["w_perf"] == ["0.9", "-"]
    assert list(found) == ["loss", "rewards/accuracies", "w_perf", "eval_loss", "eval_rewards/accuracies"]
    assert "0.5 is chance; up" in lines[2]


def test_one_picture_and_every_value(saves, capsys):
    assert main(["compare", "saves/uni", "saves/sigmoid", "--plot", "all.png", "--csv", "all.csv"]) == 0
    assert Path("all.png").read_bytes().startswith(b"\x89PNG")
    with open("all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and rows[0]["run"] == "saves/uni" and rows[2]["loss"] == "0.25" and rows[7]["loss"] == ""


def test_what_is_no_run(saves, capsys):
    assert main(["compare", "saves/uin"]) == 2
    error = capsys.readouterr().err
    assert "saves/uin/trainer_state.json: No such file or directory; runs beside it: uni" in error
    Path("saves/uni/trainer_state.json").write_text("[]")
    assert main(["compare", "saves/uni"]) == 2 and "is no state of a run" in capsys.readouterr().err
