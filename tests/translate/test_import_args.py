# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance import-args`: commands of the Resonance guide become recipes that both parsers take."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import MODEL
from examples.test_recipe_steps import NOT_HERE, family, write_model
from importers import cases_rated
from loaded import loaded
from resonance.cli.main import main
from resonance.translate import launch, models
from resonance.translate.arguments import ARGUMENTS
from resonance.translate.build import transformers_names
from translate.guide import COMMANDS, DOCUMENTED, IN_THE_CODE, OWN, RECOMMENDED, SCRIPT, USERS, arguments_of

ROOT = Path(__file__).resolve().parents[2]
Output = pytest.CaptureFixture[str]
PICTURE = ROOT / "data" / "digits" / "pref" / "0000.png"
FILES: dict[str, list[dict[str, Any]]] = {
    "demos/data/demo_sft.json": [
        {
            "image": "digit.png",
            "conversations": [{"from": "user", "value": "What is it?"}, {"from": "assistant", "value": f"A {n}."}],
        }
        for n in range(8)
    ],
    "pairs.json": [
        {"image": "digit.png", "prompt": f"What is {n}?", "chosen": "A zero.", "rejected": "A one, I think."}
        for n in range(8)
    ],
    "prompts.json": [{"image": "digit.png", "prompt": f"What is {n}?", "answer": str(n)} for n in range(8)],
}
# Entries of the sets that a hub has.
PAIRS = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
ENTRY = {"file_name": "hub.json", "formatting": "sharegpt", "ranking": True}
HUB = {
    "vlfeedback": {**ENTRY, "columns": PAIRS | {"score_chosen": "score_chosen", "score_rejected": "score_rejected"}},
    "rlhfv": {**ENTRY, "columns": PAIRS},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the commands name."""
    for name, rows in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(rows))
    (tmp_path / "demos" / "images").mkdir()
    (tmp_path / "demos" / "images" / "digit.png").write_bytes(PICTURE.read_bytes())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(HUB))
    (tmp_path / "data" / "hub.json").write_text("[]")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def translated(line: str, capsys: Output, code: int = 0) -> tuple[dict[str, Any], str]:
    """The recipe of a command line, and all that was printed."""
    assert main(["import-args", "--", line]) == code, capsys.readouterr().err
    printed = capsys.readouterr()
    return yaml.safe_load(printed.out), printed.out + printed.err


def import_data(text: str) -> None:
    """Run the command of the recipe's `Data` line, unless it reads a hub."""
    command = text.split("# Data:")[1].split("`")[1]
    if ".json" in command:
        assert main(shlex.split(command)[1:]) == 0


def test_each_argument_of_the_guide_has_a_row() -> None:
    assert set(DOCUMENTED) <= set(ARGUMENTS)
    assert {name: ARGUMENTS[name].guide for name in DOCUMENTED} == DOCUMENTED
    assert set(IN_THE_CODE) <= set(ARGUMENTS)
    options = {*launch._VARIABLES, *launch._NOTHING}
    assert [each for each in RECOMMENDED if each not in {*ARGUMENTS, *transformers_names(), *options}] == []
    for line in OWN.values():
        assert arguments_of(line) <= {*DOCUMENTED, *RECOMMENDED}


def test_a_row_becomes_a_key_or_says_why_not() -> None:
    apart = {"dataset_name", "data_path", "data_dir", "image_root"}  # become the command that makes the data set
    for name, row in ARGUMENTS.items():
        assert bool(row.key) != bool(row.refused) or name in apart, name
        assert row.stages and (row.guide is None or isinstance(row.guide, str)), name


@pytest.mark.parametrize("name", COMMANDS)
def test_both_parsers_take_the_recipe(name: str, project: Path, capsys: Output) -> None:
    from llamafactory.hparams import get_train_args, read_args

    recipe, text = translated(COMMANDS[name], capsys)
    import_data(text)
    recipe.pop("deepspeed", None)  # with it the parser asks for torchrun
    template = recipe["template"]
    _, data_args, training_args, finetuning_args, _ = get_train_args(
        read_args({**recipe, "use_cpu": True, "tf32": None})
    )
    assert (data_args.template, finetuning_args.stage) == (template, recipe["stage"])
    assert finetuning_args.finetuning_type == recipe["finetuning_type"]
    for key in ("eval_steps", "save_total_limit", "logging_steps"):
        assert getattr(training_args, key) == recipe.get(key)


def test_values(project: Path, capsys: Output) -> None:
    recipe, text = translated(OWN["quick demo"], capsys)
    expected = {"stage": "sft", "dataset": "demo_sft", "cutoff_len": 512, "lora_rank": 16, "lora_alpha": 16}
    expected |= {"lora_dropout": 0.05, "lora_target": "all", "report_to": "none", "learning_rate": 5e-5}
    expected |= {"save_steps": 1000, "save_total_limit": 3, "logging_steps": 50, "eval_strategy": "steps"}
    expected |= {"model_name_or_path": "Qwen/Qwen2-VL-2B-Instruct", "preprocessing_num_workers": 4, "val_size": 0.005}
    assert {key: recipe.get(key) for key in expected} == expected
    assert "microsoft/DialoGPT-medium is a text model, which reads no image" in text
    assert "project_name" not in recipe and "max_prompt_length" not in recipe

    recipe, text = translated(OWN["production"], capsys)
    assert recipe["deepspeed"] == "examples/deepspeed/ds_z2_config.json" and "FORCE_TORCHRUN=1 llama" in text
    assert (recipe["project_name"], recipe["group_name"], recipe["report_to"]) == ("Resonance", "Qwen-VL-DPO", "wandb")
    assert recipe["score_margin"] == 0.0 and recipe["freeze_vision_tower"] is True
    assert "the code has -1, the widest pairs of a prompt" in text

    recipe, text = translated(OWN["several GPUs"], capsys)
    assert "NPROC_PER_NODE=4 FORCE_TORCHRUN=1 llamafactory-cli train" in text
    assert (recipe["finetuning_type"], recipe["freeze_multi_modal_projector"]) == ("full", False)
    assert (recipe["cutoff_len"], recipe["max_prompt_length"], recipe["max_target_length"]) == (2048, 1024, 1024)
    assert "# --max_length by default, in the guide; the code has 512" in text

    recipe, _ = translated(OWN["little memory"], capsys)
    assert (recipe["quantization_bit"], recipe["quantization_method"]) == (4, "bnb")
    assert translated(OWN["lora of attention and MLP"], capsys)[0]["lora_target"] == (
        "q_proj,k_proj,v_proj,o_proj,up_proj,gate_proj"
    )


def test_values_of_users(project: Path, capsys: Output) -> None:
    recipe, _ = translated(USERS["flags alone"], capsys)
    assert (recipe["finetuning_type"], recipe["bf16"], recipe["freeze_vision_tower"]) == ("lora", True, False)
    recipe, text = translated(USERS["two nodes"], capsys)
    assert recipe["deepspeed"] == "examples/deepspeed/ds_z3_config.json" and recipe["seed"] == 7
    assert "NNODES=2 NPROC_PER_NODE=8 NODE_RANK=1 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500" in text
    recipe, _ = translated(USERS["ppo of the code"], capsys)
    rollout = ("per_device_train_batch_size", "gradient_accumulation_steps", "ppo_buffer_size", "kl_coef", "critic")
    assert [recipe[key] for key in rollout] == [2, 8, 4, 0.3, "separate"]
    recipe, _ = translated(USERS["ppo"], capsys)
    assert (recipe["kl_coef"], recipe["cliprange"], recipe["vf_coef"]) == (0.05, 0.1, 1.0)
    recipe, text = translated(USERS["llava-next"], capsys)
    assert recipe["template"] == "llava_next_mistral" and recipe["score_margin"] == -1 and recipe["bf16"] is True
    assert "CUDA_VISIBLE_DEVICES=0,1 NPROC_PER_NODE=2 FORCE_TORCHRUN=1" in text
    recipe, _ = translated(USERS["torchrun"], capsys)
    assert (recipe["train_sampling_strategy"], recipe["eval_strategy"]) == ("group_by_length", "epoch")
    assert recipe["adam_beta2"] == 0.98 and "eval_steps" not in recipe


def test_refused_arguments_are_named_with_a_way(project: Path, capsys: Output) -> None:
    line = USERS["ppo"] + " --reward_adapter rm --lora_bias all --max_prompt_lenght 5 --max_length 900"
    recipe, text = translated(line, capsys, code=1)
    assert "--reward_adapter: completions are rewarded by functions here: write one, and name it" in text
    assert "--lora_bias: LlamaFactory trains no biases beside LoRA; --use_lora False trains" in text
    assert "--max_prompt_lenght: neither an argument of the guide nor one of Transformers; did you mean" in text
    assert "did you mean --max_prompt_length?" in text and "# Refused:" in text and recipe["cutoff_len"] == 900
    _, text = translated(OWN["quick demo"] + " --max_prompt_length 5", capsys, code=1)
    assert "--max_prompt_length: stage: sft has one limit, cutoff_len (--max_length)" in text
    recipe, text = translated(USERS["other losses"] + " --loss_type ddpo", capsys)
    assert "--loss_type ddpo; ddpo here is RLHF-V's" in text and recipe["pref_loss"] == "ddpo_segments"


def test_what_has_no_effect_is_said(project: Path, capsys: Output) -> None:
    _, text = translated(USERS["full tuning"] + " --lora_r 8 --q_lora True", capsys)
    assert "# Left:    --lora_r: no effect, --use_lora is False" in text
    assert "--q_lora: no effect, --use_lora is False" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "python dpo.py --beta 0.1",
            "--model_name_or_path is missing; --dataset_name is missing; it has vlfeedback_p",
        ),
        ("python train.py --beta 0.1", "does not run sft.py, dpo.py or ppo.py"),
        ("python dpo.py beta 0.1", "'beta': belongs to no --argument"),
        ("python dpo.py --model_name_or_path m/other --dataset_name rlhfv", "give --template before the command"),
        (
            "python sft.py --model_name_or_path Qwen2-VL-2B --dataset_name rlhfv",
            "does not learn from it, but from vlq",
        ),
        (
            "python ppo.py --model_name_or_path Qwen2-VL-2B --dataset_name plain_dpo --data_path pairs.json",
            "does not learn from it, but from prompts of yours: --dataset_name vlquery_json --data_path FILE",
        ),
        (
            "python dpo.py --model_name_or_path Qwen2-VL-2B --dataset_name VLFeedback",
            "did you mean vlfeedback_paired?",
        ),
        (
            "python dpo.py --model_name_or_path Qwen2-VL-2B --dataset_name plain_dpo",
            "--data_path is missing: the file",
        ),
        (
            "python sft.py --use_lora maybe --freeze_vision_tower 7",
            "--use_lora: 'maybe' is neither True nor False; --fr",
        ),
    ],
)
def test_a_command_that_cannot_be_a_recipe(line: str, message: str, capsys: Output) -> None:
    assert main(["import-args", "--", *shlex.split(line)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.endswith("Next: resonance import-args --help\n")


def test_a_script_with_its_variables(project: Path, capsys: Output) -> None:
    Path("run.sh").write_text(SCRIPT)
    assert main(["import-args", "--file", "run.sh", "--out", "mine/recipe.yaml"]) == 1
    recipe, printed = yaml.safe_load(Path("mine/recipe.yaml").read_text()), capsys.readouterr()
    assert recipe["run_name"] == "bs4_lr1e-5" and recipe["output_dir"] == "ckpts/Qwen-VL-Chat-dpo/bs4_lr1e-5"
    assert recipe["per_device_train_batch_size"] == 4 and recipe["lora_target"].startswith("q_proj,k_proj,v_proj,o_pr")
    assert "num_processes: $gpu_number is known to the shell alone" in printed.err
    assert "--image_root: ${image_root_map[$dataset]} is known to the shell alone" in printed.err
    assert "Data: resonance data import vlfeedback --score-margin 0 --out data" in printed.out
    assert "Next: FORCE_TORCHRUN=1 llamafactory-cli train mine/recipe.yaml" in printed.out
    assert main(["import-args", "--file", "run.sh", "--out", "mine/recipe.yaml"]) == 2
    assert "add --force" in capsys.readouterr().err


def test_accelerates_file_is_read_where_it_is_here(project: Path, capsys: Output) -> None:
    inner = {"zero_stage": 3, "offload_optimizer_device": "cpu"}
    config = {"num_processes": 8, "num_machines": 1, "mixed_precision": "bf16", "deepspeed_config": inner}
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    recipe, text = translated(OWN["several GPUs"].replace("accelerate_config/zero2.yaml", "mine.yaml"), capsys)
    assert recipe["deepspeed"] == "examples/deepspeed/ds_z3_offload_config.json" and recipe["bf16"] is True
    assert "NPROC_PER_NODE=4" in text and "NNODES" not in text
    _, text = translated(OWN["several GPUs"].replace("zero2", "fsdp"), capsys, code=1)
    assert "--config_file: FSDP: use examples/accelerate/fsdp2_config.json" in text


def test_templates_are_llamafactorys() -> None:
    from llamafactory.data.template import TEMPLATES

    assert {model.template for model in models.MODELS} <= set(TEMPLATES)


def test_it_does_without_torch() -> None:
    command = f"    assert main(['import-args', '--', {OWN['production']!r}]) == 0"
    imports = "from contextlib import redirect_stdout\nfrom resonance.cli.main import main"
    code = f"{imports}\nwith redirect_stdout(None):\n{command}"
    assert loaded(code, "torch", "transformers", "llamafactory", "numpy") == []


# The sets that commands without a file read, in folders that are named as on the hub.
DOWNLOADED = {"MMInstruction/VLFeedback": "vlfeedback, parquet", "openbmb/RLHF-V-Dataset": "rlhfv, embedded"}
# What makes a step a short one on a CPU; whatever needs a GPU is left out.
SMALL = {"max_steps": 1, "use_cpu": True, "report_to": "none", "logging_steps": 1, "save_strategy": "no"}
SMALL |= {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 2}
SMALL_POLICY = {"max_new_tokens": 8, "ppo_buffer_size": 1, "ppo_epochs": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_step_of_each(name: str, project: Path, capsys: Output) -> None:
    from llamafactory.train.tuner import run_exp

    recipe, text = translated(COMMANDS[name], capsys)
    Path("data/dataset_info.json").unlink()  # the commands make the sets
    Path("imgs").mkdir()
    for folder, case in DOWNLOADED.items():
        next(each for each in cases_rated.CASES if each.id.startswith(case)).lay_out(project / folder)
    assert main(shlex.split(text.split("# Data:")[1].split("`")[1])[1:]) == 0
    if recipe["template"] != "qwen2_vl":
        write_model(family(recipe), project / "model")
    small = {key: value for key, value in recipe.items() if key not in (*NOT_HERE, "tf32", "output_dir")} | SMALL
    small |= {"model_name_or_path": str(MODEL) if recipe["template"] == "qwen2_vl" else "model", "output_dir": "out"}
    run_exp(small | (SMALL_POLICY if recipe["stage"] == "ppo" else {}))
    state = json.loads(Path("out/trainer_state.json").read_text())
    assert state["global_step"] == 1 and "loss" in str(state["log_history"])


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("HuggingFaceM4/idefics2-8b", "idefics2"),
        ("models/Idefics3-8B-Llama3", "idefics3"),
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "smolvlm"),
    ],
)
def test_models_that_this_package_brings_templates_for_stay(name: str, template: str) -> None:
    found = models.find(name)
    assert found is not None and (found.template, found.instead) == (template, "")
    old = models.find("HuggingFaceM4/idefics-9b-instruct")
    assert old is not None and old.instead
