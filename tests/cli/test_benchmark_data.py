# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`scripts/benchmark_data.py` runs to its end on few rows, and every way of moving paths gives the loop's bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark_data.py"


@pytest.mark.slow
def test_it_runs_and_the_bytes_agree(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, SCRIPT, "--rows", "30", "--images", "3", "--no-decode", "--json", report]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    results = json.loads(report.read_text())["results"]
    assert [result["exit_code"] for result in results] == [0] * 8
    assert [result["same"] for result in results if "same" in result] == [True] * 3
    assert done.stdout.count("the same bytes") == 3
