# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Progress and colours: at a terminal, and nowhere else."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from resonance.checks import doctor
from resonance.checks.findings import Finding, Report
from resonance.cli import terminal
from resonance.cli.main import main

Patch = pytest.MonkeyPatch
ROWS = [{"instruction": "a", "chosen": f"b{n}", "rejected": "c", "s": 2, "t": 1} for n in range(40)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: Patch, tmp_path: Path) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    monkeypatch.chdir(tmp_path)
    Path("pairs.json").write_text(json.dumps(ROWS))


def stderr_of(monkeypatch: Patch, line: str, stream: io.StringIO) -> str:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        assert main(line.split()) == 0
    return stream.getvalue()


@pytest.mark.parametrize(
    "line",
    [
        "data score-stats pairs.json --columns s t",
        "data score-scale pairs.json --columns s t --to 0 1 -o out.json",
        "data score-filter pairs.json --columns s t --min-margin 1 -o out.json",
        "data unpair pairs.json -o out.json",
        "data fix-paths pairs.json --search . --key instruction --no-check --keep-going",
        "data check pairs.json",
    ],
)
def test_a_terminal_gets_rows_rate_and_time_left(
    line: str, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "fix-paths" in line:
        Path("a").write_text("")
    text = stderr_of(monkeypatch, line, Terminal())
    assert "pairs.json: " in text and " rows/s, 0:00 left" in text and text.endswith(terminal.CLEAR)
    for written in ("out.json", "out.json.bak", "pairs.fixed.json"):
        Path(written).unlink(missing_ok=True)
    if "unpair" in line:
        line += " --name again"
    assert terminal.CLEAR not in stderr_of(monkeypatch, line, io.StringIO())


def test_nothing_beside_json(monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    assert stderr_of(monkeypatch, "data score-stats pairs.json --columns s t --json", Terminal()) == ""
    assert stderr_of(monkeypatch, "data check pairs.json --json", Terminal()) == ""


def test_a_short_command_is_silent(monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 60.0)
    assert stderr_of(monkeypatch, "data score-stats pairs.json --columns s t", Terminal()) == ""


def test_the_state_of_a_file() -> None:
    assert terminal.state("a.json", 1500, 0.25, 30.0) == "a.json: 1,500 rows, 25%, 50 rows/s, 1:30 left"
    assert terminal.state("a.csv", 10, 0.0, 2.0) == "a.csv: 10 rows, 5 rows/s"


@pytest.mark.parametrize(
    ("stream", "variables", "colour"),
    [
        (Terminal, {}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (io.StringIO, {}, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, True),
    ],
)
def test_colours(stream: type[io.StringIO], variables: dict[str, str], colour: bool, monkeypatch: Patch) -> None:
    report = Report({"Versions": [Finding(mark, "torch", "x") for mark in ("ok", "fail")]})
    monkeypatch.setattr(doctor, "examine", lambda: report)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = stream()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert main(["doctor"]) == 1
    assert ("\033[31mFAIL\033[0m  torch" in out.getvalue()) == colour
    assert ("\033[" in out.getvalue()) == colour
