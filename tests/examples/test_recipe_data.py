# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The import commands of examples/README.md write what data/dataset_info.json names and the recipes train on."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from importers import cases_messages, cases_rated
from importers.case import Case
from resonance.cli.main import main
from resonance.datafiles.read import read_rows

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^resonance (data import .*)$", README, re.MULTILINE)]
INFO = ROOT / "data" / "dataset_info.json"


def name_of(command: list[str]) -> str:
    return command[command.index("--name") + 1] if "--name" in command else command[2]


def small_set(command: list[str]) -> Case:
    """Rows of the set, with its pictures where the command looks for them."""
    shown = " ".join(command)
    kinds = {"--kind textual": "uni_dpo, textual", "--kind math": "uni_dpo, mathematics"}
    kinds["--score-margin 0"] = "vlfeedback, jsonl with img_path: all pairs that differ"
    wanted = next((case for words, case in kinds.items() if words in shown), None)
    cases = (*cases_rated.CASES, *cases_messages.CASES)
    return next(case for case in cases if case.importer == command[2] and wanted in (None, case.id))


def test_each_recipe_that_needs_a_download_has_a_command() -> None:
    info: dict[str, Any] = json.loads(INFO.read_text(encoding="utf-8"))
    files = {name: entry["file_name"] for name, entry in info.items() if "hf_hub_url" not in entry}
    absent = {name for name, file in files.items() if not (INFO.parent / file).exists()}
    written = {name_of(command): shlex.join(["resonance", *command]) for command in COMMANDS}
    assert {files[name] for name in written} == {files[name] for name in absent}
    of_file = {files[name]: command for name, command in written.items()}
    for path in (ROOT / "examples").rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        recipe = yaml.safe_load(text)
        if (name := recipe.get("dataset")) in absent:
            header = re.sub(r"\n# +", " ", text.split("# Command:")[0])
            assert f"see examples/README.md: `{of_file[files[name]]}`" in header


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_the_entry_is_there_as_the_command_writes_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = small_set(command)
    raw = case.lay_out(tmp_path)
    options = command[3:] if command[3].startswith("--") else command[4:]  # without a file of one's own
    if "--image-root" in case.flags and "--image-root" not in options:
        root = case.flags[case.flags.index("--image-root") + 1]
        options = [*options, "--image-root", root.format(folder=tmp_path)]
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copy(INFO, "data")
    assert main([*command[:3], str(raw), *options]) == 0, capsys.readouterr().err
    assert Path("data/dataset_info.json").read_bytes() == INFO.read_bytes()
    entry = json.loads(INFO.read_text(encoding="utf-8"))[name_of(command)]
    rows = [row for _, row in read_rows(Path("data") / entry["file_name"])]
    assert len(rows) == len(case.expected)
    for row in rows:
        assert set(entry["columns"].values()) <= set(row)
        assert all((Path("data") / image).is_file() for image in row.get("images", ()))
