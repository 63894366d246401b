# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What scripts/soak_rl.py makes of what it sees; the run itself takes too long for a test."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")
    return import_module("soak_rl")


def test_what_a_process_holds_is_seen(soak):
    before = soak.held(os.getpid(), 3)
    with open(os.devnull):
        assert soak.held(os.getpid(), 3).files == before.files + 1
    assert before.step == 3 and before.rss > 10 and before.threads >= 1


def test_a_tenth_has_its_most_and_the_end_is_apart(soak):
    rows = [soak.Row(step, 100.0 + step % 10, 4, 7) for step in range(100)] + [soak.Row(100, 150.0, 4, 7)]
    parts = soak.tenths(rows, 100)
    assert [part.step for part in parts] == [*range(10, 101, 10), 100]
    assert [part.rss for part in parts] == [109.0] * 10 + [150.0] and not soak.grows(parts)


def test_what_grows_is_named(soak):
    rows = [soak.Row(step, 100.0 + step, 4 + step // 50, 7) for step in range(100)]
    assert soak.grows(soak.tenths(rows, 100)) == ["70.0 MiB", "1 files"]
