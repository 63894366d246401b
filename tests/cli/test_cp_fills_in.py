# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance cp` with options, `ls` with filters, `show`: what a recipe is, and what it becomes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from resonance.cli import recipes
from resonance.cli.main import main
from resonance.translate import settings
from resonance.translate.tailor import Wish, tailor
from resonance.translate.templates import template_of

Output = pytest.CaptureFixture[str]
SHIPPED = recipes.list_recipes(recipes.examples_dir())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_everything_at_once(capsys: Output) -> None:
    typed = "cp qwen2_vl_2b/uni_dpo my/a.yaml --model Qwen/Qwen3-VL-4B-Instruct --dataset mine,others --gpus 8"
    more = "--dataset-dir sets --output-dir saves/a --set learning_rate=1.0e-5 --set overlong=drop"
    assert main([*typed.split(), *more.split()]) == 0
    text, said = Path("my/a.yaml").read_text(), capsys.readouterr().out
    original = yaml.safe_load((recipes.examples_dir() / "qwen2_vl_2b/uni_dpo.yaml").read_text())
    assert yaml.safe_load(text) == original | {
        "model_name_or_path": "Qwen/Qwen3-VL-4B-Instruct",
        "template": "qwen3_vl_nothink",
        "dataset": "mine,others",
        "dataset_dir": "sets",
        "output_dir": "saves/a",
        "gradient_accumulation_steps": 16,
        "learning_rate": 1.0e-5,
        "overlong": "drop",
        "deepspeed": "my/ds_z2_config.json",
    }
    assert "# freeze_vision_tower and freeze_multi_modal_projector stay at" in text and "### train" in text
    assert "# Launch" not in text and "# GPUs" not in text and "# Data" not in text and "# Paper:" in text
    assert json.loads(Path("my/ds_z2_config.json").read_text())["zero_optimization"]["stage"] == 2
    command = "FORCE_TORCHRUN=1 NPROC_PER_NODE=8 llamafactory-cli train my/a.yaml"
    assert f"# Command: {command}\n" in text and said.endswith(f"Next: {command}\n")
    assert "  -gradient_accumulation_steps: 32\n" in said and "  +gradient_accumulation_steps: 16\n" in said
    assert "128 rows a step as in the recipe: 8 GPUs x 1 x 16 accumulated" in said


def test_the_command_of_a_copy_can_be_typed_whatever_its_name(capsys: Output) -> None:
    for number, name in enumerate(("qwen2_vl_2b/uni_dpo_lora", "qwen2_5_vl_7b/uni_dpo")):
        dest = f"my recipes/{number}.yaml"
        assert main(["cp", name, dest]) == 0
        step = capsys.readouterr().out.rpartition("Next: ")[2]
        assert dest in shlex.split(step)


def test_a_deepspeed_file_that_does_not_come_with_the_package_is_refused(capsys: Output) -> None:
    name = "examples/deepspeed/ds_z9_config.json"
    assert main(["cp", "uni_dpo_lora", "c.yaml", "--set", f"deepspeed={name}"]) == 2 and not Path("c.yaml").exists()
    said = capsys.readouterr().err
    assert name in said and "examples/deepspeed/ds_z2_config.json" in said
    assert main(["cp", "uni_dpo_lora", "c.yaml", "--set", f"deepspeed=./{name}"]) == 0, "the way out that it names"


def test_as_json(capsys: Output) -> None:
    assert main(["cp", "uni_dpo_lora", "b.yaml", "--gpus", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == "b.yaml" and told["changes"] == {"gradient_accumulation_steps": ["128", "32"]}
    assert told["next"][-1] == "FORCE_TORCHRUN=1 NPROC_PER_NODE=4 llamafactory-cli train b.yaml"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--gpus 3", r"128 rows a step, 1 at a time, do not divide among 3; numbers that do: 1, 2, 4, 8, "),
        ("--gpus 0", "--gpus 0: is 1 or more"),
        ("--gpus 4 --set gradient_accumulation_steps=2", "--gpus sets it"),
        ("--model nobody/nothing", "add --template NAME"),
        ("--model Qwen/Qwen-VL-Chat", "take Qwen/Qwen2.5-VL-7B-Instruct"),
        ("--dataset a --set dataset=b", "--set dataset=b: --dataset sets it too"),
        ("--set learning_rate", "write KEY=VALUE"),
        ("--set pref_loss_params={a", "is not YAML"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(options: str, said: str, capsys: Output) -> None:
    assert main(["cp", "qwen2_vl_2b/uni_dpo_lora", "c.yaml", *options.split()]) == 2
    error = capsys.readouterr().err
    assert said in error and "Next: resonance cp --help" in error
    assert not Path("c.yaml").exists()


def test_both_of_two_problems_are_named(capsys: Output) -> None:
    assert main(["cp", "uni_dpo_lora", "c.yaml", "--model", "nobody/nothing", "--gpus", "3"]) == 2
    error = capsys.readouterr().err
    assert "--template NAME" in error and "do not divide among 3" in error


def test_a_text_model_has_no_image_keys(capsys: Output) -> None:
    assert main(["cp", "rl/qwen2_5_vl_rm", "d.yaml", "--model", "Qwen/Qwen2.5-7B-Instruct"]) == 0
    values = yaml.safe_load(Path("d.yaml").read_text())
    assert values["template"] == "qwen" and not [key for key in values if key.startswith(("image_", "freeze_"))]
    assert "left out: the model reads text only" in capsys.readouterr().out


def test_a_template_of_ones_own_choice(capsys: Output) -> None:
    assert main("cp uni_dpo_lora e.yaml --model nobody/nothing --template llava".split()) == 0
    values = yaml.safe_load(Path("e.yaml").read_text())
    assert (values["model_name_or_path"], values["template"]) == ("nobody/nothing", "llava")


def test_full_tuning_on_several_gpus_gets_zero() -> None:
    text = (
        "# Command: llamafactory-cli train x.yaml\n\nfinetuning_type: full\nper_device_train_batch_size: 2 # small\n"
    )
    made = tailor(text, "llamafactory-cli train x.yaml", 4, Wish(Path("f/y.yaml"), gpus=2))
    assert yaml.safe_load(made.text) == {
        "finetuning_type": "full",
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "deepspeed": "f/ds_z2_config.json",
    }
    assert made.copies == {"examples/deepspeed/ds_z2_config.json": Path("f/ds_z2_config.json")}
    assert "2 # small\n" in made.text and made.command.startswith("FORCE_TORCHRUN=1 NPROC_PER_NODE=2 ")


def test_the_rows_of_a_step_are_the_originals_whatever_fits_at_a_time() -> None:
    text = "finetuning_type: lora\nper_device_train_batch_size: 1\ngradient_accumulation_steps: 32\n"
    wish = Wish(Path("y.yaml"), gpus=2, sets=[("per_device_train_batch_size", "4")])
    made = tailor(text, "llamafactory-cli train x.yaml", 1, wish)
    assert yaml.safe_load(made.text)["gradient_accumulation_steps"] == 32 // (2 * 4)


def test_a_file_beside_that_differs_is_kept(capsys: Output) -> None:
    Path("ds_z2_config.json").write_text("{}")
    assert main(["cp", "qwen2_vl_2b/uni_dpo", "g.yaml", "--gpus", "2"]) == 0
    assert Path("ds_z2_config.json").read_text() == "{}" and "differs from" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_a_shipped_recipe_made_over_is_the_recipe_but_for_what_was_asked(recipe: recipes.Recipe) -> None:
    text = recipe.path.read_text()
    made = tailor(text, recipe.header["command"], 1, Wish(Path("z.yaml"), dataset="mine", output_dir="saves/z"))
    values = yaml.safe_load(text) | {"dataset": "mine", "output_dir": "saves/z"}
    if "deepspeed" in values:
        values["deepspeed"] = Path(values["deepspeed"]).name
    assert yaml.safe_load(made.text) == values


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_the_template_of_a_shipped_recipe_is_the_one_that_its_model_gets(recipe: recipes.Recipe) -> None:
    model = recipe.settings["model_name_or_path"]
    if model.startswith("saves/") or model == "princeton-nlp/Llama-3-Base-8B-SFT":
        pytest.skip("a model of no known name")
    assert template_of(model).template == recipe.settings["template"]


@pytest.mark.parametrize(
    ("folder", "kind", "template"), [("mine", "qwen2_5_vl", "qwen2_vl"), ("Qwen2-VL-2B-Instruct", "?", "qwen2_vl")]
)
def test_the_template_of_a_folder(folder: str, kind: str, template: str) -> None:
    Path(folder).mkdir()
    Path(folder, "config.json").write_text(json.dumps({"model_type": kind}))
    assert template_of(folder).template == template


def test_a_configuration_that_cannot_be_read_is_named() -> None:
    Path("mine").mkdir()
    for text in ('{"model_type": ', "[]"):
        Path("mine/config.json").write_text(text)
        with pytest.raises(ValueError, match=r"mine/config\.json is no configuration .*; add --template NAME"):
            template_of("mine")


def test_a_text_is_quoted_where_yaml_reads_it_as_something_else() -> None:
    for value in (
        "saves/a b",
        "1e5",
        "true",
        "null",
        "a: b",
        "#x",
        "plain/name-1.5",
        "D:\\x",
        "[a]",
        "~",
        "a #b",
        "-x",
    ):
        assert yaml.safe_load(settings.put("k: 1\n", "k", settings.word(value))) == {"k": value}


def test_values_over_several_lines_are_replaced_whole() -> None:
    text = "a: 1\nrewards:\n  - name: exact\n    weight: 1\n\nb: 2  # two\n"
    assert yaml.safe_load(settings.put(text, "rewards", "[]")) == {"a": 1, "rewards": [], "b": 2}
    assert yaml.safe_load(settings.drop(text, "rewards")) == {"a": 1, "b": 2}


def test_filters_of_ls(capsys: Output) -> None:
    assert main("ls --method uni_dpo --method simpo --model qwen2.5-vl-7b --json".split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["method"] for each in found} == {"uni_dpo", "simpo"}
    assert {each["model"] for each in found} == {"Qwen/Qwen2.5-VL-7B-Instruct"}
    assert main("ls --method sigmoid --tuning lora --data rlhfv --table".split()) == 0
    head, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head.split() == ["RECIPE", "METHOD", "TUNING", "MODEL", "DATA", "GPUS", "MEMORY"]
    assert rows and all(row.split()[1:3] == ["dpo", "lora"] for row in rows)


def test_a_filter_that_leaves_nothing_names_the_nearest(capsys: Output) -> None:
    assert main(["ls", "--method", "uni-dpo"]) == 1
    assert "nearest: uni_dpo" in capsys.readouterr().err


def test_ls_ends_with_the_recipe_to_begin_with(capsys: Output) -> None:
    assert main(["ls"]) == 0
    assert capsys.readouterr().out.endswith("Next: resonance cp qwen2_vl_2b/uni_dpo_lora my_recipe.yaml\n")


def test_show(capsys: Output) -> None:
    assert main(["show", "methods/two_nodes"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^gpus +2 x 4$", text, re.MULTILINE) and re.search(r"^memory +~11 GiB$", text, re.MULTILINE)
    assert "\npref_loss: uni_dpo\n" in text
    assert main(["show", "mpo_lora", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["stage"] == "dpo"
    assert main(["show", "nothing_such"]) == 2
    assert "Next: resonance ls" in capsys.readouterr().err
