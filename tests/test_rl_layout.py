# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The arithmetic of docs/distributed.md: numbers worked by hand, and the tables as the script prints them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "rl_layout.py"


@pytest.fixture
def layout(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return import_module("rl_layout")


def test_numbers_by_hand(layout):
    lora = layout.Given(parameters=1.0, adapters=0.01, completions=8, group=4, prompt=100, response=50, micro=2)
    full = layout.Given(**{**vars(lora), "mode": "full"})
    tokens = 8 * 50 + 2 * 100
    assert layout.flops(lora) == pytest.approx(10e9 * tokens) and layout.flops(full) == pytest.approx(12e9 * tokens)
    assert layout.weights(lora) == pytest.approx(0.04) and layout.weights(full) == 2.0
    sent = layout.gradient_bytes(full, 4)
    assert sent == {"DDP": 2 * 2 * 0.75, "ZeRO-2": 3 * 2 * 0.75, "ZeRO-3": 2 * 3 * 2 * 0.75}


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_the_page_has_the_tables(mode):
    done = subprocess.run([sys.executable, SCRIPT, "--mode", mode], capture_output=True, text=True, check=True)
    tables = [part for part in done.stdout.strip().split("\n\n") if part.startswith("|")]
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    assert len(tables) == 2 and all(table in page for table in tables)
