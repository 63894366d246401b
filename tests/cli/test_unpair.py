# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data unpair` as it is typed: the rows and the entry that it makes, and what stops it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from llamafactory.hparams import parser

from conftest import DATA, base_recipe
from resonance.arguments import recipe
from resonance.cli.main import main

PAIRS = [
    {
        "id": i,
        "instruction": f"<image>Question {i}?",
        "chosen": f"good {i}",
        "rejected": f"bad {i}",
        "images": ["a.png"],
    }
    | {"score_chosen": 4.0 + i, "score_rejected": 1.0 + i}
    for i in range(3)
]
COLUMNS = {name: name for name in ("chosen", "rejected", "images", "score_chosen", "score_rejected")}
COLUMNS |= {"prompt": "instruction"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `data` with three scored pairs and their image, in which commands are typed."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copy(next((DATA / "images").iterdir()), "data/a.png")
    write(PAIRS, COLUMNS)
    return tmp_path


def write(rows, columns, **entry):
    Path("data/pairs.json").write_text(json.dumps(rows))
    info = {"pairs": {"file_name": "pairs.json", "ranking": True, "columns": columns, **entry}}
    Path("data/dataset_info.json").write_text(json.dumps(info))


def unpair(*more):
    code = main(["data", "unpair", "pairs", "-o", "data/pairs_kto.json", *more])
    made = Path("data/pairs_kto.json")
    rows = json.loads(made.read_text()) if made.exists() else []
    return code, rows, json.loads(Path("data/dataset_info.json").read_text()).get("pairs_kto")


def test_two_rows_a_pair_neighbours_of_other_prompts(folder, capsys):
    code, rows, entry = unpair()
    assert code == 0
    assert [row["response"] for row in rows] == ["good 0", "good 1", "bad 0", "good 2", "bad 1", "bad 2"]
    assert rows[2] == {
        "id": 0, "instruction": "<image>Question 0?", "images": ["a.png"], "response": "bad 0", "kto_tag": False,
        "score": 1.0,
    }  # fmt: skip
    columns = {"prompt": "instruction", "response": "response", "images": "images", "kto_tag": "kto_tag"}
    assert entry == {"file_name": "pairs_kto.json", "columns": columns}
    told = capsys.readouterr().out
    assert "3 good answers, 3 bad answers" in told
    next_line = re.search(r"Next: resonance (data check [^,]*), then `dataset: pairs_kto`", told)
    assert main(shlex.split(next_line[1])) == 0
    assert "labelled answers" in capsys.readouterr().out


def test_by_score_with_weights(folder):
    code, rows, entry = unpair("--threshold", "3", "--weights")
    assert code == 0 and entry["columns"]["weight"] == "weight"
    by_answer = {row["response"]: (row["kto_tag"], row["weight"]) for row in rows}
    # distances from 3: of the chosen 1, 2, 3; of the rejected 2, 1, 0, whose score is the threshold itself
    assert by_answer["bad 2"] == (True, 0.0) and by_answer["bad 0"] == (False, pytest.approx(2 / 1.5))
    assert sum(weight for _, weight in by_answer.values()) == pytest.approx(6)
    assert main(["data", "check", "pairs_kto"]) == 0
    rows[0]["weight"] = -1
    Path("data/pairs_kto.json").write_text(json.dumps(rows))
    assert main(["data", "check", "pairs_kto"]) != 0


def test_a_conversation_gets_its_answer(folder):
    turns = [{"from": "human", "value": "Hello?"}]
    sides = {side: {"from": "gpt", "value": side} for side in ("chosen", "rejected")}
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    write([{"conversations": turns, **sides}] * 2, columns, formatting="sharegpt")
    code, rows, entry = unpair()
    assert code == 0 and len(rows) == 2, "the second pair is the first once more"
    assert rows == [
        {"conversations": [*turns, sides["chosen"]], "kto_tag": True},
        {"conversations": [*turns, sides["rejected"]], "kto_tag": False},
    ]
    assert entry["formatting"] == "sharegpt" and entry["columns"] == {
        "messages": "conversations", "kto_tag": "kto_tag",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--weights"], 2, "--weights: needs --threshold T"),
        (["--threshold", "nan"], 2, "give a number"),
    ],
)
def test_what_cannot_be(folder, capsys, more, code, message):
    found, rows, entry = unpair(*more)
    assert found == code and not rows and entry is None and message in capsys.readouterr().err


def test_rows_that_are_no_pairs(folder, capsys):
    write([PAIRS[0], {**PAIRS[1], "rejected": None}], COLUMNS)
    code, rows, _ = unpair()
    assert code == 1 and not rows and "pairs.json, row 1: has no rejected" in capsys.readouterr().err
    write([{**PAIRS[0], "score": "How good?"}], {**COLUMNS, "prompt": "score"})
    code, _, _ = unpair()
    assert code == 1 and "its prompt are in a column 'score'" in capsys.readouterr().err


@pytest.mark.parametrize("engine", [{}, {"kto_engine": "resonance"}])
def test_the_command_of_the_recipes_error_works(folder, engine):
    given = base_recipe(folder / "out", stage="kto", dataset="pairs", dataset_dir="data", media_dir=None, **engine)
    with pytest.raises(ValueError) as error:
        recipe.check(given, parser)
    command = re.search(r"`resonance ([^`]*)` makes the set pairs_kto", str(error.value))
    assert command and main(shlex.split(command[1])) == 0
    recipe.check({**given, "dataset": "pairs_kto"}, parser)
