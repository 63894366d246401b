# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Accuracies of policies are those that the trainer's own evaluation gives, whatever the batch size."""

from __future__ import annotations

import csv
import json
import math
import shutil

import pytest
from safetensors.torch import load_file, save_file

from conftest import DATA, MODEL
from evaluate.conftest import ROWS
from loaded import loaded
from resonance.cli.eval_tables import print_policies
from resonance.cli.main import main
from resonance.evaluate.accuracy import PairLogps, calibration, groups, summary
from resonance.evaluate.trained import Trained, read_trained
from resonance.reward_model.settings import Settings


def command(forty, *words):
    return ["eval-pairs", "pairs", "--dataset-dir", str(forty), "--media-dir", str(DATA), *map(str, words)]


def results(run):
    return json.loads((run.output_dir / "all_results.json").read_text())


@pytest.mark.parametrize("batch", [64, 14])
def test_accuracies_are_the_trainers(runs, forty, model, capsys, batch):
    folder = runs["lora"].output_dir
    words = ("--model", folder, "--model", folder / "checkpoint-2", "--batch-size", batch, "--json")
    assert main(command(forty, *words)) == 0
    last, before = json.loads(capsys.readouterr().out)["models"]
    found, trainer = last["pairs"]["all"], results(runs["lora"])
    assert found["pairs"] == ROWS and found["overlong"] == 0
    # uni_dpo's rewards are of means a token above the reference
    assert found["accuracy_reference_mean"] == pytest.approx(trainer["eval_rewards/accuracies"], abs=1e-6)
    assert found["accuracy_reference_mean"] == pytest.approx(trainer["eval_accuracies/reference"], abs=1e-6)
    assert found["accuracy_mean"] == pytest.approx(trainer["eval_accuracies/policy"], abs=1e-6)
    assert 2.0 * found["margin_reference"] == pytest.approx(trainer["eval_rewards/margins"], abs=1e-5)
    assert last["calibration"]["beta"] == 2.0 and last["calibration"]["margin"] == "mean a token above the reference"
    assert before["pairs"]["all"]["margin_reference"] != found["margin_reference"], "a checkpoint has its own weights"
    assert last["reference"] == f"{model}, the adapter switched off" and last["template"] == "qwen2_vl"


def test_a_whole_model_against_the_model_it_was_trained_from(runs, forty, capsys, tmp_path):
    words = ("--model", runs["full"].output_dir, "--ref", MODEL, "--csv", tmp_path / "all.csv")
    assert main(command(forty, *words)) == 0
    trainer, printed = results(runs["full"]), capsys.readouterr().out
    with (tmp_path / "all.csv").open() as file:
        lines = {line["pairs of"]: line for line in csv.DictReader(file)}
    assert float(lines["all"]["accuracy_reference_mean"]) == pytest.approx(trainer["eval_accuracies/reference"])
    assert float(lines["all"]["accuracy_mean"]) == pytest.approx(trainer["eval_accuracies/policy"])
    assert sum(int(of["pairs"]) for name, of in lines.items() if name.startswith("score margin")) == ROWS
    assert sum(int(of["pairs"]) for name, of in lines.items() if name.startswith("tokens")) == ROWS
    assert f"{float(lines['all']['accuracy_sum']):.1%}" in printed
    assert "calibration of p = sigmoid(2 * margin), margin: mean a token above the reference" in printed


def test_overlong_pairs_are_counted_and_read_whole(runs, forty, capsys, tmp_path):
    folder = shutil.copytree(runs["full"].output_dir, tmp_path / "short")
    record = json.loads((folder / "resonance_run.json").read_text())
    record["settings"]["cutoff_len"] = 30
    (folder / "resonance_run.json").write_text(json.dumps(record))
    found = []
    for model in (folder, runs["full"].output_dir):
        assert main(command(forty, "--model", model)) == 0
        found.append(capsys.readouterr().out)
    assert f"{ROWS} pairs are longer than cutoff_len 30 of its training; read whole" in found[0]
    numbers = [[line.split()[2:] for line in text.splitlines() if line.startswith("all ")] for text in found]
    assert numbers[0] == numbers[1]


def test_weights_that_are_no_numbers(runs, forty, capsys, tmp_path):
    folder = shutil.copytree(runs["lora"].output_dir, tmp_path / "nan")
    file = folder / "adapter_model.safetensors"
    save_file({name: value * math.nan for name, value in load_file(file).items()}, file)
    assert main(command(forty, "--model", folder)) == 2
    assert f"{ROWS} of {ROWS} pairs a log-probability that is no finite number" in capsys.readouterr().err


def test_weights_that_are_missing(runs, forty, capsys, tmp_path):
    for name, file in (("lora", "adapter_model.safetensors"), ("full", "model.safetensors")):
        folder = shutil.copytree(runs[name].output_dir, tmp_path / name)
        state = load_file(folder / file)
        lost = next(key for key in state if "layers.1.self_attn.q_proj" in key)
        save_file({key: value for key, value in state.items() if key != lost}, folder / file, {"format": "pt"})
        assert main(command(forty, "--model", folder)) == 2
        error = capsys.readouterr().err
        assert "lacks " in error and "layers.1.self_attn.q_proj" in error


def test_what_is_missing_is_named_at_once(forty, capsys, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "adapter_config.json").write_text('{"base_model_name_or_path": "/gone/model"}')
    assert main(command(forty, "--model", tmp_path / "model", "--model", "saves/none")) == 2
    error = capsys.readouterr().err
    for part in (
        "where no folder is now",
        "its template is not known",
        "no folder 'saves/none'",
        "--base",
        "--template",
    ):
        assert part in error
    assert main(command(forty, "--rm", "saves/none", "--ref", MODEL, "--batch-size", "0")) == 2
    assert "--ref belongs to --model; --batch-size 0 is not allowed" in capsys.readouterr().err


def test_what_a_folder_says_needs_no_torch(runs, model):
    assert loaded("import resonance.evaluate.trained, resonance.evaluate.accuracy", "torch", "llamafactory") == []
    found = read_trained(str(runs["lora"].output_dir / "checkpoint-2"), {})
    assert found.is_adapter and found.settings.base == str(model) and found.beta == 2.0
    assert found.settings.data["default_system"] == "Be brief."


def test_an_adapter_on_merged_adapters(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    recipe = "model_name_or_path: org/base\ntemplate: qwen2_vl\nadapter_name_or_path: first,second\n"
    (tmp_path / "resonance_recipe.yaml").write_text(recipe)
    assert read_trained(str(tmp_path), {}).settings.merged == ["first"], "training went on with the second"
    (tmp_path / "resonance_recipe.yaml").write_text(recipe + "create_new_adapter: true\n")
    found = read_trained(str(tmp_path), {})
    assert found.arguments()["adapter_name_or_path"] == f"first,second,{tmp_path}"


def test_measures_of_a_pair():
    pair = PairLogps(-6.0, -4.0, 6, 2, reference=(-9.0, -5.0))
    assert pair.margin(mean=False, reference=False) == -2.0
    assert pair.margin(mean=True, reference=False) == 1.0  # -1 a token against -2
    assert pair.margin(mean=False, reference=True) == 2.0  # gained 3 and 1
    assert pair.margin(mean=True, reference=True) == 0.0  # both gained 0.5 a token
    found = summary([{}], [pair])["all"]
    accuracies = [found[f"accuracy_{name}"] for name in ("mean", "sum", "reference_mean", "reference_sum")]
    assert accuracies == [1.0, 0.0, 0.0, 1.0], "a tie is not right"
    with pytest.raises(ValueError, match="of another tokenizer"):
        pair.beside(PairLogps(-6.0, -4.0, 5, 2))


def test_groups():
    rows = [
        {"_source": "a.json", "score_chosen": 3.0, "score_rejected": 2.5},
        {"_source": "b.json", "score_chosen": 9.0, "score_rejected": 2.0},
        {"_source": "a.json"},
    ]
    lengths = [(32, 4), (33, 33), (2, 2000)]
    found = groups(rows, [PairLogps(0.0, 0.0, *each) for each in lengths])
    assert found == {
        "all": [0, 1, 2],
        "a.json": [0, 2],
        "b.json": [1],
        "score margin<=0.5": [0],
        "score margin>4": [1],
        "tokens<=32": [0],
        "tokens<=64": [1],
        "tokens>1024": [2],
        "chosen longer": [0],
        "rejected longer": [2],
    }


def test_calibration_by_hand():
    """Four pairs, margins ln 3 (p = 0.75), twice; -ln 3, once; 0, once: sure 0.75, 0.75, 0.75, 0.5."""
    margins = [math.log(3), math.log(3), -math.log(3), 0.0]
    found = calibration([PairLogps(margin, 0.0, 1, 1) for margin in margins], 1.0, mean=False)
    assert [(of["pairs"], of["from"]) for of in found["bins"]] == [(1, 0.5), (3, 0.7)]
    assert [of["right"] for of in found["bins"]] == pytest.approx([0.0, 2 / 3])
    assert found["error"] == pytest.approx((1 * 0.5 + 3 * (0.75 - 2 / 3)) / 4)
    assert calibration([PairLogps(1e3, 0.0, 1, 1)], 1.0, mean=False)["bins"][0]["to"] == 1.0


@pytest.mark.parametrize(("loss", "margin"), [("simpo", "mean a token"), ("sigmoid", "sum above the reference")])
def test_calibration_is_of_the_margin_that_the_loss_reads(loss, margin):
    trained = Trained("run", Settings("base"), record={"pref_loss": loss})
    pair = PairLogps(-2.0, -4.0, 2, 2, reference=(-1.0, -9.0))
    found = calibration([pair], 1.0, mean=trained.reads_means, reference=trained.reads_reference)
    assert found["margin"] == margin and found["bins"][0]["right"] == (loss == "simpo")
    assert Trained("run", Settings("base")).reads_reference, "a run that is not known"


def test_models_of_which_one_has_no_pair_of_a_length(capsys):
    pairs = {"pairs": 2, "overlong": 0, "accuracy_mean": 0.5, "accuracy_sum": 0.5, "margin_mean": 0.0}
    bins = calibration([PairLogps(-1.0, -2.0, 1, 1)], 0.1, mean=False)
    shared = {"reference": None, "template": "qwen2_vl", "cutoff_len": None, "calibration": bins}
    groups = {"one": {"all": pairs, "tokens<=32": pairs}, "other": {"all": pairs, "tokens<=64": pairs}}
    print_policies([{"model": name, "pairs": found, **shared} for name, found in groups.items()])
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["tokens<=32", "one"] in lines and ["tokens<=64", "other"] in lines
    assert ["tokens<=32", "other"] not in lines


def test_a_reference_is_looked_for_before_a_model_is_loaded(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    command = ["eval-pairs", "pairs", "--model", str(tmp_path), "--template", "qwen2_vl"]
    assert main([*command, "--ref", "./nowhere"]) == 2
    assert "there is no folder './nowhere'" in capsys.readouterr().err
    assert main([*command, "--base", "base"]) == 2
    assert "--base base: none of the models is an adapter" in capsys.readouterr().err
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref/adapter_config.json").write_text('{"base_model_name_or_path": "/gone"}')
    assert main([*command, "--ref", str(tmp_path / "ref")]) == 2
    assert "adapter of /gone, where no folder is now" in capsys.readouterr().err
    assert main([*command, "--ref", str(tmp_path / "ref"), "--base", str(tmp_path)]) == 2
    assert "/gone" not in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_refused_at_once(capsys):
    assert main(["eval-pairs", "pairs", "--model", "saves/none", "--csv", "nowhere/table.csv"]) == 2
    assert "--csv nowhere/table.csv: there is no folder nowhere" in capsys.readouterr().err
