# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names in a recipe that LlamaFactory would find wrong only later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llamafactory.hparams import parser

from conftest import MODEL
from resonance.arguments import names
from resonance.arguments.recipe import check
from resonance.cli.main import main


def test_stage_and_method_are_checked_in_every_recipe():
    with pytest.raises(ValueError) as caught:
        check({"stage": "uni_dpo", "finetuning_type": "loar"}, parser)
    text = str(caught.value)
    assert "stage: 'uni_dpo' is not one of dpo, " in text and "write `stage: dpo` and `pref_loss: uni_dpo`" in text
    assert "finetuning_type: 'loar' is not one of lora, oft, freeze, full" in text
    check({"stage": "kto", "finetuning_type": "freeze"}, parser)


@pytest.mark.parametrize("given", ["qwen2vl", "Qwen2-VL", "qwen2_lv"])
def test_template_names_the_nearest_first(given):
    (problem,) = names.template_problems({"template": given})
    assert problem.startswith(f"template: LlamaFactory has no {given!r}; nearest: qwen2_vl, ")
    assert not names.template_problems({"template": "qwen2_vl"}) and not names.template_problems({})


def test_model_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("saves/sft").mkdir(parents=True)
    Path("saves/sft/adapter_config.json").touch()
    assert not names.name_problems({"model_name_or_path": str(MODEL), "adapter_name_or_path": "saves/sft"})
    assert not names.name_problems({"model_name_or_path": "Qwen/Qwen2-VL-2B-Instruct"}), "a name of the hub"
    wrong = names.name_problems(
        {
            "model_name_or_path": "./savse/sft",
            "adapter_name_or_path": "./saves/stf,saves/sft",
            "ref_model": "saves/sft",
        }
    )
    assert wrong == [
        f"model_name_or_path: no folder './savse/sft' in {tmp_path}; did you mean saves?",
        "ref_model: 'saves/sft' has no config.json; give the folder that a model was saved into",
        f"adapter_name_or_path: no folder './saves/stf' in {tmp_path}; did you mean saves/sft?",
    ]
    assert names.folder_problems("outputs/run/sft", "config.json") == [
        f"no folder 'outputs/run/sft' in {tmp_path}; an earlier recipe may have to make it"
    ]


def test_adapters_of_a_reference_need_the_reference():
    given = {"model_name_or_path": str(MODEL), "ref_model_adapters": "org/adapter"}
    (problem,) = names.name_problems(given)
    assert problem.startswith("ref_model_adapters: has no effect without ref_model")
    assert f"add `ref_model: {MODEL}`" in problem
    assert not names.name_problems({**given, "ref_model": str(MODEL)})


def test_deepspeed_file_and_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "find_spec", lambda name: object())
    shipped = "examples/deepspeed/ds_z3_config.json"
    (problem,) = names.deepspeed_problems(shipped)
    assert f"cannot read '{shipped}' in {tmp_path}: No such file" in problem
    command = problem.partition("`resonance ")[2].partition("`")[0]
    assert main(command.split()) == 0 and json.loads(Path(shipped).read_text())
    assert names.deepspeed_problems(shipped) == names.deepspeed_problems({"zero_optimization": {}}) == []
    Path("broken.json").write_text("{")
    assert "is not JSON" in names.deepspeed_problems("broken.json")[0]
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    assert "pip install deepspeed==" in names.deepspeed_problems(shipped)[0]
