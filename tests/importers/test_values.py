# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Each importer on a small file of the documented schema: what is written and registered, and a step of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from importers import cases_messages, cases_public, cases_rated
from importers.case import Case, with_pictures
from resonance.cli.main import main
from resonance.datafiles.infer import infer_entry
from resonance.datafiles.read import read_rows
from resonance.importers.table import IMPORTERS

REPEATS = ("duplicate prompt", "duplicate row")  # several pairs about one question; a raw row that is there twice
CASES = [*cases_rated.CASES, *cases_messages.CASES, *cases_public.CASES]


def only_set(out: Path) -> tuple[str, dict[str, Any]]:
    ((name, entry),) = json.loads((out / "dataset_info.json").read_text()).items()
    return name, entry


def test_every_importer_has_a_case() -> None:
    assert {case.importer for case in CASES} == set(IMPORTERS)
    assert all(name == importer.name for name, importer in IMPORTERS.items())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_rows_and_entry(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert case.run(tmp_path / "raw", out) == 0, capsys.readouterr().err
    name, entry = only_set(out)
    assert entry["file_name"].startswith(f"{name}.")
    rows = [with_pictures(row, out) for _, row in read_rows(out / entry["file_name"])]
    assert rows == case.expected
    columns = entry["columns"].values()
    assert set(columns) <= rows[0].keys()
    assert entry.get("ranking", False) == (case.stage == "dpo")
    assert ("score_chosen" in columns) == ("score_chosen" in rows[0])
    # a user who registers the file anew gets the same entry, and says so if there are no answers
    given = {"columns": {"response": None}} if case.stage == "ppo" else None
    assert infer_entry(out / entry["file_name"], out / "dataset_info.json", given) == entry
    assert f"-> entry {name!r} in {out / 'dataset_info.json'}" in capsys.readouterr().out
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_check_finds_nothing(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert case.run(tmp_path / "raw", out) == 0, capsys.readouterr().err
    name, _ = only_set(out)
    capsys.readouterr()
    assert main(["data", "check", name, "--dataset-dir", str(out), "--decode", "--json"]) == 0
    found = [finding for finding in json.loads(capsys.readouterr().out) if finding["kind"] not in REPEATS]
    assert found == []


@pytest.mark.slow
def test_each_trains_a_step(
    tmp_path: Path, train_many: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = {}
    for number, case in enumerate(CASES):
        out = tmp_path / str(number) / "out"
        assert case.run(tmp_path / str(number) / "raw", out) == 0, capsys.readouterr().err
        name, _ = only_set(out)
        recipes[case.id] = {
            "stage": case.stage,
            "dataset": name,
            "dataset_dir": str(out),
            "media_dir": None,
            "max_steps": 1,
            "per_device_train_batch_size": 2,
            **case.recipe,
        }
    runs = train_many(recipes)
    failed = {id: run.output[-3000:] for id, run in runs.items() if run.returncode}
    assert failed == {}
    assert [id for id, run in runs.items() if run.state["global_step"] != 1] == []
