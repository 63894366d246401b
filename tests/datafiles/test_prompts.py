# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which files are told to be prompts of reinforcement learning, and how `resonance data register` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resonance.cli.main import main
from resonance.datafiles.infer import infer_entry
from resonance.datafiles.info import read_info
from resonance.datafiles.prompts import found_in
from resonance.datafiles.write import write_rows

ROLES = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
ASKED = [{"role": "user", "content": "<image>What?"}]
VERL = {
    "data_source": "geometry3k",
    "prompt": ASKED,
    "images": ["a.png"],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "3"},
    "extra_info": {"split": "train", "index": 0},
}
IMAGES = {"images": ["a.png"]}


def infer(folder: Path, row: dict[str, Any], **columns: Any) -> dict[str, Any]:
    write_rows(folder / "rows.json", [row, row])
    return infer_entry(folder / "rows.json", folder / "dataset_info.json", {"columns": columns})


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (
            {"problem": "<image>q", "answer": "3"} | IMAGES,
            {"prompt": "problem", "images": "images", "meta": ["answer"]},
        ),
        ({"prompt": "<image>q", "answer": "3"} | IMAGES, {"prompt": "prompt", "images": "images", "meta": ["answer"]}),
        ({"problem": "q", "solution": "<answer>3</answer>"}, {"prompt": "problem", "meta": ["solution"]}),
        ({"problem": "q", "solution": "so 3", "answer": 3}, {"prompt": "problem", "meta": ["answer", "solution"]}),
        ({"question": "q", "ground_truth": "3"}, {"prompt": "question", "meta": ["ground_truth"]}),
        ({"question": "q", "answer": 3}, {"prompt": "question", "meta": ["answer"]}),
        (
            VERL | {"prompt": "q"},
            {"prompt": "prompt", "images": "images", "meta": ["reward_model", "data_source", "extra_info"]},
        ),
        # answers that are to be learned
        ({"question": "q", "answer": "3"}, {"prompt": "question", "response": "answer"}),
        ({"problem": "q", "output": "3", "answer": "3"}, {"prompt": "problem", "response": "output"}),
        (
            {"prompt": "q", "answer": "3", "kto_tag": True},
            {"prompt": "prompt", "response": "answer", "kto_tag": "kto_tag"},
        ),
    ],
)
def test_columns(tmp_path: Path, row: dict[str, Any], columns: dict[str, Any]) -> None:
    assert infer(tmp_path, row) == {"file_name": "rows.json", "columns": columns}


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (VERL, {"messages": "prompt", "images": "images", "meta": ["reward_model", "data_source", "extra_info"]}),
        ({"prompt": ASKED, "solution": "3"}, {"messages": "prompt", "meta": ["solution"]}),
        ({"messages": ASKED, "answer": "3"}, {"messages": "messages", "meta": ["answer"]}),
        ({"messages": ASKED}, {"messages": "messages"}),
        (
            {"messages": [*ASKED, {"role": "assistant", "content": "3"}], "answer": "3"},
            {"messages": "messages"},
        ),
    ],
)
def test_columns_of_messages(tmp_path: Path, row: dict[str, Any], columns: dict[str, Any]) -> None:
    entry = infer(tmp_path, row)
    assert entry["columns"] == columns and entry["formatting"] == "sharegpt" and ROLES.items() <= entry["tags"].items()


def test_columns_that_are_named_go_before_what_is_told(tmp_path: Path) -> None:
    row = {"prompt": "q", "answer": "3", "level": 2}
    assert infer(tmp_path, row, response="answer")["columns"] == {"prompt": "prompt", "response": "answer"}
    assert infer(tmp_path, row, meta=["level"])["columns"] == {
        "prompt": "prompt",
        "response": "answer",
        "meta": ["level"],
    }
    with pytest.raises(ValueError, match=r"there is no column 'levle', which meta is to name.*Did you mean level\?"):
        infer(tmp_path, row, meta=["levle"])


def test_prompts_alone_are_registered_as_the_message_advises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"or --set columns.response= for prompts alone \(stage: ppo\)"):
        infer(tmp_path, {"prompt": "q", "level": 2})
    assert infer(tmp_path, {"prompt": "q"}, response=None)["columns"] == {"prompt": "prompt"}


def test_register_writes_the_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rl.json").write_text(json.dumps([VERL]))
    command = ["data", "register", str(tmp_path / "rl.json"), "--dataset-dir", str(tmp_path)]
    assert main(command) == 0
    assert "Prompts of stage: ppo; rewards read reward_model, data_source, extra_info\n" in capsys.readouterr().out
    assert main([*command, "--force", "--set", "columns.meta=reward_model,ability"]) == 0
    assert read_info(tmp_path / "dataset_info.json")["rl"]["columns"] == {
        "messages": "prompt",
        "images": "images",
        "meta": ["reward_model", "ability"],
    }


def test_a_column_of_that_very_name_goes_before_a_path() -> None:
    assert found_in(VERL, "reward_model.ground_truth") == "3"
    assert found_in(VERL | {"reward_model.ground_truth": "4"}, "reward_model.ground_truth") == "4"
    assert found_in({"reward_model": "3"}, "reward_model.ground_truth") is None
