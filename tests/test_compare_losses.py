# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""scripts/compare_losses.py: its table, what a second call runs, the photographs' rows; a run of it is slow."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: import_module(name)


def row(loss, seed, policy, **more):
    return {"set": "digits", "loss": loss, "seed": seed, "policy": policy, "reference": 0.5, "greedy": 0.25} | more


def test_table_by_hand(script):
    found = [row("ipo", 0, 0.6, cpu_s=10.0), row("ipo", 1, 0.7, cpu_s=20.0), row("SFT start", 0, 0.55, cpu_s=0.0)]
    lines = script("compare_losses").table([*found, row("ipo", 0, 0.9, cpu_s=1.0) | {"set": "patches"}], "digits")
    assert lines.splitlines()[2:] == [
        "| SFT start |  | 1 | 55.0 |  | 25.0 | 0 |",
        "| ipo | beta 0.1: LlamaFactory | 2 | 65.0 +- 7.1 | 50.0 +- 0.0 | 25.0 +- 0.0 | 15 |",
    ]


def test_what_is_known_is_not_run_again(script, monkeypatch, tmp_path, capsys):
    module, file = script("compare_losses"), tmp_path / "rows.jsonl"
    other = row("ipo", 1, 0.1, cpu_s=1.0, overrides={"num_train_epochs": 1})
    lines = [json.dumps(row("ipo", 0, 0.6, cpu_s=1.0)), json.dumps(other), '{"set": "digits", "lo']
    file.write_text("\n".join(lines))
    run = []
    monkeypatch.setattr(module, "run", lambda *key: run.append(key[:3]) or row(*key[1:3], 0.8, cpu_s=1.0))
    assert module.main(["--sets", "digits", "--only", "ipo", "--seeds", "0,1", "--json", str(file)]) == 0
    assert run == [("digits", "SFT start", 0), ("digits", "ipo", 1)]
    assert "| 2 | 70.0 +- 14.1 |" in capsys.readouterr().out
    assert [json.loads(line)["loss"] for line in file.read_text().splitlines()] == ["ipo", "ipo", "SFT start", "ipo"]


def test_every_loss_is_ours_and_has_its_parameters(script):
    from resonance.losses import get_loss

    for loss in script("compare_losses").LOSSES.values():
        assert get_loss(loss.keys["pref_loss"]) and (f"beta {loss.keys['pref_beta']:g}" in loss.parameters) == (
            loss.keys["pref_loss"] != "sft"
        )


def test_rows_of_photographs(script):
    patches = script("make_patches_data")
    pair = {"instruction": "<image>What digit is this?", "chosen": "The digit is 4.", "score_chosen": 5.0}
    assert patches.retold(pair | {"images": ["patches/pref/0004.png"]}) == {
        "instruction": "<image>What is this?",
        "chosen": "This is cat.",
        "score_chosen": 5.0,
        "images": ["patches/pref/0004.png"],
    }
    assert script("compare_losses").SETS["patches"].classes.split("|") == patches.NAMES
    assert not re.search(r"\d|digit", " ".join(patches.WORDS.values()))


def test_patches_are_of_disjoint_halves(script):
    from PIL import Image

    patches, rng = script("make_patches_data"), random.Random(0)
    halves = Image.linear_gradient("L").rotate(90)  # a column has one grey level
    for held_out in (False, True):
        for _ in range(20):
            levels = patches.patch(halves, held_out, rng).getextrema()
            assert all((level < 128) != held_out for level in levels)


@pytest.mark.slow
def test_a_run(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import compare_losses as c; from pathlib import Path; "
        "c.WORK = Path(sys.argv[2]); sys.exit(c.main(sys.argv[3:]))"
    )
    out = tmp_path / "rows.jsonl"
    given = ["--sets", "digits", "--only", "hinge", "--seeds", "3", "--json", str(out), "max_steps=2"]
    command = [sys.executable, "-c", code, str(SCRIPTS), str(tmp_path), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    start, hinge = (json.loads(line) for line in out.read_text().splitlines())
    assert (start["loss"], hinge["loss"], hinge["seed"]) == ("SFT start", "hinge", 3)
    assert all(0 < hinge[name] <= 1 for name in ("policy", "reference", "greedy")) and hinge["cpu_s"] > 0
    assert "| hinge | beta 0.1: LlamaFactory | 1 |" in done.stdout


def test_the_page_has_the_parameters_of_the_script(script):
    """Its numbers are measured; the rest of its tables is the script's."""
    module = script("compare_losses")
    page = (SCRIPTS.parent / "docs" / "losses_compared.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert {tuple(row) for row in cells if row[0] == "loss"} == {
        ("loss", "parameters", "seeds", *module.MEASURES, "CPU s")
    }
    losses = [row for row in cells if row[0] in module.LOSSES]
    assert losses and all(row[1] == module.LOSSES[row[0]].parameters for row in losses)
