# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Switched off beside a loss that only this package has: one line, from the process that was started and no rank."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SCRIPTS
from resonance.hooks.disabled import notice

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_rank(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.mark.parametrize(
    ("text", "words", "loss"),
    [
        ("stage: dpo\npref_loss: uni_dpo\n", [], "uni_dpo"),
        ('{"pref_loss": "uni_dpo"}', [], "uni_dpo"),
        ("pref_loss: 'my_losses:mine'  # ours", [], "my_losses:mine"),
        ("pref_loss: sigmoid", ["pref_loss=bco_pair"], "bco_pair"),
        ("pref_loss: uni_dpo", ["pref_loss=sigmoid"], None),
        ("pref_loss: hinge", [], None),
        ("stage: sft\n# pref_loss: uni_dpo", [], None),
        ("pref_loss: [sigmoid, bco_pair]", [], "[sigmoid, bco_pair]"),
        ("pref_loss:\n- sigmoid\n- sft", [], "- sigmoid"),
        ("pref_loss: sigmoid,sft", [], "sigmoid,sft"),
    ],
)
def test_recipes(tmp_path, text, words, loss):
    (tmp_path / "r.yaml").write_text(text)
    said = notice(["python", "/bin/llamafactory-cli", "train", str(tmp_path / "r.yaml"), *words])
    assert (said is None) if loss is None else (f"pref_loss: {loss} is not there" in said)


def test_flags_and_other_commands(monkeypatch):
    flags = ["llamafactory-cli", "train", "--stage", "dpo", "--pref_loss", "uni_dpo"]
    assert "uni_dpo" in notice(flags) and "uni_dpo" in notice(["python", "-m", "x/llamafactory/cli.py", *flags[1:]])
    assert notice(["llamafactory-cli", "chat", "train"]) is None
    assert notice(["python", "train", "pref_loss=uni_dpo"]) is None
    assert notice(["llamafactory-cli", "train"]) is None
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert notice(flags) is None


def test_a_process_writes_one_line_to_stderr():
    """What the start-up line calls, in a process whose command line is that of a training."""
    command = [sys.executable, "-c", "import resonance.startup as s; s.install()", "llamafactory-cli", "train"]
    env = {**os.environ, "PATH": str(SCRIPTS), "RESONANCE_DISABLE": "1"}
    done = subprocess.run([*command, "pref_loss=uni_dpo"], env=env, capture_output=True, text=True, check=True)
    (line,) = set(done.stderr.splitlines())
    assert done.stdout == "" and line.startswith("[resonance] RESONANCE_DISABLE is set, so pref_loss: uni_dpo is not")
    assert not subprocess.run(command, env=env, capture_output=True, text=True, check=True).stderr


def test_the_start_up_line_wakes_for_a_training_only():
    line = re.search(r'"resonance_startup.pth": \((.*?)\n    \),', (ROOT / "setup.py").read_text(), re.DOTALL)
    assert line and "or 'train' in sys.orig_argv" in line[1]
