# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Exit codes: 0 fine, 1 something is wrong with what was looked at, 2 called wrongly. And one document by --json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resonance.cli.commands import COMMANDS, inner
from resonance.cli.main import main

Output = pytest.CaptureFixture[str]
SINGLE = [name for name in COMMANDS if not inner(name)]
ROWS = [{"instruction": "a", "chosen": f"b{n}", "rejected": "c", "s": 2, "t": 1} for n in range(3)]

# What is not there, by command, with its code.
MISSING = {
    "show nothing_such": 2,
    "cp nothing_such to.yaml": 2,
    "losses nothing_such": 1,
    "ls nothing_such": 1,
    "import-args --file none.sh": 2,
    "data import --out data nothing_such": 2,
    "data check none.json": 2,
    "data fix-paths none.json --search .": 1,
    "data register none.json": 1,
    "data list --dataset-dir none": 1,
    "data show none.json": 1,
    "data score-stats none.json": 1,
    "data score-scale none.json --to 0 1 -o out.json": 1,
    "data score-filter none.json --min-margin 1 -o out.json": 1,
    "data unpair none.json -o out.json": 1,
    "data view none.json --no-browser": 1,
    "score none.json --judge function --function exact -o out.json": 2,
    "validate none.yaml": 1,
    "estimate none.yaml": 2,
    "precompute none.yaml": 2,
    "rollout-check none.yaml": 2,
    "compare none": 2,
    "report none": 2,
    "eval-config none": 2,
    "export-check none": 2,
    "eval-pairs none.json --rm none": 2,
    "serve-reward none/such": 2,
    "completion none": 2,
}
AS_JSON = [
    "ls --json",
    "show uni_dpo_lora --json",
    "cp uni_dpo_lora to.yaml --json",
    "losses --json",
    "import-args --json -- python dpo.py --model_name_or_path llava-hf/llava-1.5-7b-hf --dataset_name rlhfv",
    "data list --json",
    "data show pairs --json",
    "data check pairs --json",
    "data score-stats pairs --columns s t --json",
    "data register pairs.json --name more --dry-run --json",
    "compare run --json",
    "report run --json",
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("run").mkdir()
    Path("pairs.json").write_text(json.dumps(ROWS))
    entry = {"file_name": "../pairs.json", "ranking": True, "columns": {"prompt": "instruction", "chosen": "chosen"}}
    entry["columns"] |= {"rejected": "rejected"}
    Path("data", "dataset_info.json").write_text(json.dumps({"pairs": entry}))
    log = [{"step": 1, "loss": 0.5, "epoch": 1.0}]
    Path("run", "trainer_state.json").write_text(json.dumps({"log_history": log}))


def test_what_is_not_there_is_named_for_every_command() -> None:
    named = [name for name in SINGLE if any(line.startswith(f"{name} ") for line in MISSING)]
    assert set(SINGLE) - set(named) == {"doctor"}, "MISSING lacks a line for it"


@pytest.mark.parametrize("line", MISSING)
def test_what_is_not_there(line: str, capsys: Output) -> None:
    assert main(line.split()) == MISSING[line]
    out, err = capsys.readouterr()
    assert not out or line.startswith("validate")  # whose findings are its result
    assert "none" in out + err or "nothing_such" in out + err


@pytest.mark.parametrize("name", SINGLE)
def test_an_option_that_there_is_not(name: str, capsys: Output) -> None:
    needed = next((line.split()[len(name.split()) :] for line in MISSING if line.startswith(f"{name} ")), [])
    if name == "completion":
        needed = ["bash"]
    assert main([*name.split(), "--no-such-option", *needed]) == 2
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize("line", AS_JSON)
def test_one_document_on_stdout(line: str, capsys: Output) -> None:
    assert main(line.split()) == 0
    assert json.loads(capsys.readouterr().out)
