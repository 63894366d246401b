# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The benchmark compares what it times, and says so when the two ways differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import load_script


def test_numbers_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = load_script()
    monkeypatch.setattr(script, "SIZES", ((64, 48), (300, 200)))
    arguments = ["--images", "1", "--json", str(tmp_path / "numbers.json")]
    assert script.main(arguments) == 0
    small, large = json.loads((tmp_path / "numbers.json").read_text())
    assert (small["family"], small["size"], small["tokens"], small["equal"]) == ("qwen2_vl", [64, 48], 2 * 2 + 2, True)
    assert large["decoded_ms"] > large["headers_ms"] > 0
    assert capsys.readouterr().out.count("qwen2_vl") == 2

    monkeypatch.setattr("resonance.rows.vision.counter.ImageCounter.process_messages", lambda *arguments: [])
    monkeypatch.setattr("resonance.rows.vision.counter.ImageCounter.disagreement", lambda counter: None)
    assert script.main(["--images", "1"]) == 1


def test_wrong_calls_are_told_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in ((["--images", "0"], "at least 1"), (["--json", "no/such/file.json"], "no folder no/such")):
        with pytest.raises(SystemExit) as stopped:
            load_script().main(arguments)
        assert stopped.value.code == 2
        assert told in capsys.readouterr().err
