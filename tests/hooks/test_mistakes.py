# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Mistakes of a new user: the exit code of the command, and the cause within the last lines on the screen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llamafactory.launcher
import pytest
import yaml

from conftest import DATA, base_recipe
from resonance.cli.main import main

SCREEN = 6  # lines that stay in sight
LOSSES = """
import torch
from resonance.losses import Pairs

def my_loss(pairs: Pairs, *, alpha: float = 1.0):
    return -alpha * pairs.logits

def scalar(pairs):
    return pairs.logits.mean()

def attribute(pairs):
    return -pairs.logist

def detached(pairs):
    return -pairs.logits.detach()

def nan(pairs):
    return pairs.logits * float("nan")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a new user: a copy of the golden pairs, and a loss of their own."""
    monkeypatch.chdir(tmp_path)
    info = json.loads((DATA / "dataset_info.json").read_text())["pairs"]
    rows = json.loads((DATA / "pairs.json").read_text())[:4]
    data = tmp_path / "mydata"
    data.mkdir()
    columns = info["columns"]
    bare = {key: name for key, name in columns.items() if not key.startswith("score_")}
    entries = {
        "mine": info,
        "unscored": info | {"columns": bare},
        "misnamed": info | {"columns": columns | {"score_chosen": "chosen_scroe"}},
        "answers": {"file_name": "pairs.json", "columns": {"prompt": "instruction", "response": "chosen"}},
    }
    (data / "dataset_info.json").write_text(
        json.dumps({n: {**e, "file_name": "pairs.json"} for n, e in entries.items()})
    )
    (data / "pairs.json").write_text(json.dumps(rows))
    (tmp_path / "my_losses.py").write_text(LOSSES)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def train(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`train(changes, *words)`: exit code and last lines of `llamafactory-cli train r.yaml WORDS` in this process."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)

    def run(changes: dict[str, Any], *words: str) -> tuple[int, str]:
        mine = {"pref_loss": "uni_dpo", "dataset": "mine", "dataset_dir": "mydata", "media_dir": str(DATA)}
        given = base_recipe(folder / "out", **{**mine, **changes})
        (folder / "r.yaml").write_text(yaml.safe_dump(given))
        monkeypatch.setattr(sys, "argv", ["llamafactory-cli", "train", *(words or ["r.yaml"])])
        code = 0
        try:
            llamafactory.launcher.launch()
        except SystemExit as end:
            code = end.code
        except BaseException:
            capsys.readouterr()
            sys.excepthook(*sys.exc_info())
            code = 1
        return code, "\n".join(capsys.readouterr().err.strip().splitlines()[-SCREEN:])

    return run


# Changes of a sound recipe, and what is on the screen then.
RECIPES: list[tuple[dict[str, Any], str]] = [
    ({"uni_dpo_tau_godd": 1}, "uni_dpo_tau_godd: no such key .* did you mean uni_dpo_tau_good"),
    ({"learning_rat": 1}, "did you mean learning_rate"),
    ({"pref_loss": "unidpo"}, "Unknown loss 'unidpo' .nearest: uni_dpo"),
    ({"pref_loss": "Uni-DPO"}, "Unknown loss 'Uni-DPO' .nearest: uni_dpo"),
    ({"pref_loss": "my_losses.my_loss"}, "For your own write 'package.module:function'"),
    ({"pref_loss": "my_losses.py:my_loss"}, "no module named 'my_losses.py'.* write it as 'package.module:function'"),
    ({"pref_loss": "my_losses:mi_loss"}, "has no 'mi_loss' .nearest: my_loss"),
    ({"pref_loss": "my_losses:my_loss", "pref_loss_params": {"alfa": 2}}, "no parameter 'alfa' .nearest: alpha"),
    ({"pref_loss": "my_losses:scalar"}, "my_losses:scalar fails on four made-up pairs: .*[(]4,[)]"),
    ({"pref_loss": "my_losses:attribute"}, "AttributeError: .*'logist'.*my_losses.py, line 12"),
    ({"pref_loss": "my_losses:detached"}, "my_losses:detached fails on .*does not require grad"),
    ({"pref_loss": "my_losses:nan"}, "my_losses:nan gives .nan, nan, nan, nan. for four made-up pairs"),
    ({"finetuning_type": "loar"}, "finetuning_type: 'loar' is not one of lora, "),
    ({"pref_beta": "two"}, "pref_beta: beta='two' is not allowed, it must be a finite number > 0"),
    ({"pref_beta": -1}, "pref_beta: beta=-1 is not allowed"),
    ({"dataset": "mien"}, "'mien' is not in mydata/dataset_info.json; nearest: mine"),
    ({"dataset_dir": "mydta"}, "cannot read mydta/dataset_info.json in /.*: No such file.*did you mean mydata"),
    ({"dataset_dir": None}, "cannot read data/dataset_info.json in /.*: No such file.*did you mean mydata"),
    ({"template": "qwen2vl"}, "template: LlamaFactory has no 'qwen2vl'; nearest: qwen2_vl"),
    ({"template": "llama3"}, "row 0: cannot be tokenized .*the correct `template`"),
    ({"stage": "sft", "pref_loss": None}, "'mine' has pairs, which stage: sft does not learn from; use stage: dpo or"),
    (
        {"dataset": "answers", "pref_loss": None},
        "'answers' has answers, which stage: dpo does not .*\"ranking\": true",
    ),
    (
        {"dataset": "answers"},
        "'answers' in mydata/dataset_info.json has no pairs; a preference set has \"ranking\": true",
    ),
    ({"stage": "uni_dpo"}, "stage: 'uni_dpo' is not one of dpo, .*write `stage: dpo` and `pref_loss: uni_dpo`"),
    (
        {"pref_loss": "unidpo", "dataset": "mien", "template": "qwen2vl", "learning_rat": 1},
        "4 problems:\n.*learning_rat.*\n.*template.*\n.*unidpo.*\n.*mien",
    ),
    ({"dataset": "unscored"}, "needs scores, but 'unscored' declares no .*add to its \"columns\".*pref_loss: sigmoid"),
    ({"dataset": "misnamed"}, "names column `chosen_scroe`, which the data does not have; did you mean"),
    ({"model_name_or_path": "./modle"}, "model_name_or_path: no folder './modle' in "),
    ({"model_name_or_path": "./modle", "pref_loss": None}, "The first cause: .*'./modle'"),
    ({"do_eval": True}, "eval_dataset"),
    ({"streaming": True}, "Please specify `max_steps` in streaming mode"),
    (
        {"cutoff_len": 40},
        "row 0: 95 tokens .*more than `cutoff_len: 40`(.*\n)*To do .too long.: Set `cutoff_len: 123`",
    ),
    (
        {"overlong": "trunc", "pref_speedups": "of"},
        "overlong: 'trunc' is not one of .*\n.*'of' is no .* did you mean off",
    ),
    ({"pref_loss_params": "a=1"}, "'a=1' is not JSON .*write it as {discopop_tau: 0.05}"),
    (
        {"data_ratio": 50, "image_feature_cache": "lots"},
        "data_ratio: 50 .*\n.*image_feature_cache: 'lots'.*such as 8GB",
    ),
    ({"deepspeed": "ds.json"}, "deepspeed: cannot read 'ds.json' in /.*: No such file"),
    ({"ref_model_adapters": "org/adapter"}, "ref_model_adapters: has no effect without ref_model; add `ref_model: "),
    (
        {"per_device_train_batch_size": 0},
        "per_device_train_batch_size: 0 is not allowed, it must be a whole number from 1",
    ),
]


@pytest.mark.parametrize(("changes", "said"), RECIPES, ids=[str(changes)[:60] for changes, _ in RECIPES])
def test_a_wrong_recipe(train, changes, said):
    code, last = train(changes)
    assert code == 1 and re.search(said, last), last


WORDS: list[tuple[list[str], str]] = [
    (["r.yaml", "pref_los=hinge"], "pref_los: no such key .*did you mean pref_loss"),
    (["r.yaml", "--pref_loss", "hinge"], "--pref_loss hinge: behind a recipe file write key=value"),
    (["rr.yaml"], "rr.yaml: No such file or directory in /.*; did you mean r.yaml"),
    (["README.md"], "README.md: a recipe is a file that ends with .yaml, .yml, .json; did you mean|README.md"),
    (["tab.yaml"], "tab.yaml: is not YAML(.*\n)*.*line 2, column 1"),
    (["twice.yaml"], "duplicate key a(.*\n)*.*line 2, column 1"),
    (["colon.yaml"], "pref_beta:2.0: no such key"),
]


@pytest.mark.parametrize(("words", "said"), WORDS, ids=[" ".join(words) for words, _ in WORDS])
def test_a_wrong_command(train, folder, words, said):
    for name, text in (("tab", "a:\t1\n\tb"), ("twice", "a: 1\na: 2"), ("colon", "stage: dpo\npref_beta:2.0:\n")):
        (folder / f"{name}.yaml").write_text(text)
    code, last = train({}, *words)
    assert code == 1 and re.search(said, last), last
    assert "Traceback" not in last


def spoil(rows: list[dict[str, Any]], kind: str) -> Any:
    if kind == "empty":
        return []
    if kind == "identical":
        return [row | {"rejected": row["chosen"]} for row in rows]
    column, value = {
        "picture": ("images", ["gone.png"]),
        "score": ("score_chosen", None),
        "text score": ("score_rejected", "two"),
        "placeholder": ("instruction", "no picture"),
    }[kind]
    return [rows[0], rows[1] | {column: value}, *rows[2:]]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("picture", "row 1: .*gone.png.*\nTo do .image missing.: Correct the path"),
        ("score", "row 1: .*\nTo do .bad score.: Give every row a finite number"),
        ("text score", "row 1.*\nTo do .mixed column.: Give .*\n`resonance data check mydata/pairs.json` lists"),
        ("placeholder", "row 1: .*\nTo do .placeholder count.: Write one placeholder per item"),
        ("identical", "4 identical pair.*No row is left"),
        ("empty", "mydata/pairs.json.*Check that the file is whole"),
    ],
)
def test_wrong_rows(train, folder, kind, said):
    data = folder / "mydata" / "pairs.json"
    data.write_text(json.dumps(spoil(json.loads(data.read_text()), kind)))
    code, last = train({})
    assert code == 1 and re.search(said, last), last


def test_problems_behind_a_file_that_cannot_be_read_are_listed_by_check(train, folder, capsys):
    data = folder / "mydata" / "pairs.json"
    rows = json.loads(data.read_text())
    data.write_text(json.dumps(spoil(spoil(rows, "text score"), "picture")))
    command = re.search("`resonance (data check .*)` lists", train({})[1])[1]
    assert main(command.split()) == 1
    told = capsys.readouterr().out
    assert "gone.png" in told and "two" in told


def test_a_broken_dataset_info(train, folder):
    (folder / "mydata" / "dataset_info.json").write_text('{\n "mine": {"file_name": "pairs.json",}\n}')
    code, last = train({})
    assert code == 1 and re.search(r"cannot read mydata/dataset_info.json: .*line 2 column 37", last), last


def test_under_torchrun_the_recipe_is_checked_before_it_starts(train, monkeypatch):
    monkeypatch.setenv("FORCE_TORCHRUN", "1")
    monkeypatch.setenv("NPROC_PER_NODE", "2")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("torchrun was started"))
    code, last = train({"uni_dpo_tau_godd": 1, "pref_beta": -1})
    assert code == 1 and "Traceback" not in last
    assert "uni_dpo_tau_godd: no such key" in last and "pref_beta: beta=-1" in last


def test_torchrun_without_a_gpu_needs_a_number_of_processes(train, monkeypatch):
    monkeypatch.setenv("FORCE_TORCHRUN", "1")
    monkeypatch.delenv("NPROC_PER_NODE", raising=False)
    monkeypatch.setattr("llamafactory.extras.misc.get_device_count", lambda: 0)
    code, last = train({})
    assert code == 1 and "set NPROC_PER_NODE too, say to 2" in last


def test_numbers_in_quotes_and_json_recipes_are_right(train, folder, monkeypatch):
    seen: list[Any] = []
    monkeypatch.setattr("llamafactory.train.tuner.run_dpo", lambda *args: seen.append(args[3]))
    assert train({"pref_beta": "2.5", "learning_rate": "1e-3"})[0] == 0
    (folder / "r.json").write_text(json.dumps(yaml.safe_load((folder / "r.yaml").read_text())))
    assert train({}, "r.json", "pref_beta=1e-1")[0] == 0
    assert [args.pref_beta for args in seen] == [2.5, 0.1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "r.yaml"], "Next: llamafactory-cli train --help"),
        (["data", "chek", "mine"], "there are: check"),
        (["data", "check", "my.yaml"], "my.yaml"),
        (["data", "check", "mine", "--dataset-dri", "mydata"], "did you mean --dataset-dir"),
        (["doctor", "my.yaml"], "resonance doctor: does not take my.yaml\nNext: resonance doctor --help"),
    ],
)
def test_a_wrong_call_of_resonance(folder, capsys, words, said):
    assert main(words) == 2
    last = "\n".join(capsys.readouterr().err.strip().splitlines()[-SCREEN:])
    assert said in last
