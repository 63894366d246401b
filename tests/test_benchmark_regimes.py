# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""No kind of data for which a step has more FLOPs or launches than LlamaFactory's, by more than 2 %."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))  # as when it is run
    yield importlib.import_module("benchmark_regimes")
    sys.modules.pop("benchmark_regimes")


@pytest.mark.slow
def test_no_regime_is_worse(script):
    chosen = [regime for regime in script.regimes() if regime.quick]
    rows = list(script.run(chosen))
    assert len(rows) == len(chosen) > 15
    assert {row.regime: row.wrong for row in rows if row.wrong} == {}
    ways = {row.regime: row.way for row in rows}
    assert len(set(ways.values())) >= 3  # or the choice would not be tested
    gained = {row.regime: row.gflops[0] / row.gflops[1] for row in rows}
    assert gained["picture of 448 px, responses 64"] > 2.5 and gained["16 uneven pairs"] > 2.0
    launches = {row.regime: row.launches[0] / row.launches[1] for row in rows}
    assert launches["16 uneven pairs"] > 1.4


def test_what_is_wrong_is_named(script):
    row = script.Row("r", (1.0, 1.03), (100, 101), "rows", 0.0, 1.0)
    assert row.wrong == "more FLOPs than LlamaFactory, another loss or gradient"
    assert script.Row("r", (1.0, 1.01), (100, 103), "rows", 0.0, 0.0).wrong == "more launches than LlamaFactory"
