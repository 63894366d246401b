# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every recipe under examples/: complete header, known data, files that exist, and keys that LlamaFactory accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from resonance.reward_model.settings import FILE

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
RECIPES = sorted(EXAMPLES.rglob("*.yaml"))
NAMES = [path.relative_to(EXAMPLES).with_suffix("").as_posix() for path in RECIPES]
DEEPSPEED = sorted((EXAMPLES / "deepspeed").glob("*.json"))
TEMPLATE = '{"data": {"template": "qwen2_vl"}}'  # as a run of `stage: rm` writes it
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=NAMES)


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def header(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()
    assert all(line.startswith("#") for line in lines), "a header is comments up to the first empty line"
    return {match[1]: match[2] for line in lines if (match := re.match(r"# (\w+): +(\S.*)", line))}


def test_the_recipes_the_readme_promises_are_there() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in RECIPES}
    rows = {folder: set[str]() for folder in folders}
    for line in readme.splitlines():
        for folder, names in re.findall(r"`(\w+)/(\w+(?:\.yaml)?(?:, \w+)*)`", line) if line.startswith("|") else ():
            rows.setdefault(folder, set()).update(name.removesuffix(".yaml") for name in names.split(", "))
    assert rows == {folder: {path.stem for path in RECIPES if path.parent.name == folder} for folder in folders}
    assert len(RECIPES) >= 45
    for path in (*DEEPSPEED, *sorted((EXAMPLES / "accelerate").glob("*.json"))):
        assert path.name in readme


def launched(path: Path, gpus: int) -> str:
    """The command of a recipe, but for its path."""
    nodes = (
        "NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 FORCE_TORCHRUN=1 "
        "NPROC_PER_NODE=4 llamafactory-cli train"
    )
    other = {
        "methods/fsdp2": "accelerate launch --config_file examples/accelerate/fsdp2_config.json "
        "-m llamafactory.launcher",
        "methods/ray": "USE_RAY=1 llamafactory-cli train",
        "methods/two_nodes": nodes,
        "rl/qwen2_5_vl_grpo_two_nodes": nodes,
    }
    usual = (f"FORCE_TORCHRUN=1 NPROC_PER_NODE={gpus} " if gpus > 1 else "") + "llamafactory-cli train"
    return other.get(path.relative_to(EXAMPLES).with_suffix("").as_posix(), usual)


@each_recipe
def test_header_says_what_data_how_on_what_and_why(path: Path) -> None:
    found = header(path)
    assert {"Purpose", "Data", "Command", "Launch", "GPUs", "Paper", "Watch"} <= set(found)
    gpus = int(found["GPUs"].split()[0])
    assert found["Command"] == f"{launched(path, gpus)} {path.relative_to(ROOT).as_posix()}"
    assert "memory" in found["GPUs"] or gpus == 0
    assert gpus == 0 or re.match(r"1 GPU: |N GPUs|the second node", found["Launch"])
    recipe = load(path)
    if one := re.match(r"1 GPU: NPROC_PER_NODE=1 and gradient_accumulation_steps=(\d+) ", found["Launch"]):
        assert int(one[1]) == gpus * recipe["gradient_accumulation_steps"], "the same batch"


@each_recipe
def test_data_sets_are_registered_and_local_ones_are_there(path: Path) -> None:
    recipe = load(path)
    info = json.loads((ROOT / recipe["dataset_dir"] / "dataset_info.json").read_text(encoding="utf-8"))
    names = [name for key in ("dataset", "eval_dataset") if key in recipe for name in recipe[key].split(",")]
    assert names
    for name in names:
        assert name in info
        assert name in header(path)["Data"]
        assert info[name].get("ranking", False) == (recipe["stage"] in ("dpo", "rm"))
        if name.startswith("digits_"):
            assert (ROOT / recipe["dataset_dir"] / info[name]["file_name"]).is_file()
        if recipe.get("pref_loss") == "uni_dpo":
            assert {"score_chosen", "score_rejected"} <= set(info[name]["columns"])


@each_recipe
def test_output_goes_to_a_folder_of_its_own_below_saves(path: Path) -> None:
    assert load(path)["output_dir"] == f"saves/{path.relative_to(EXAMPLES).with_suffix('').as_posix()}"


@each_recipe
def test_llamafactory_accepts_every_key_and_value(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaFactory's own parser, with the plugin; models are not loaded.

    `deepspeed` is left out: with it the parser asks to be started by torchrun, and opens a process group.
    """
    from llamafactory.hparams import get_train_args, read_args

    monkeypatch.chdir(tmp_path)
    for name in ("data", "examples"):  # recipes name data and DeepSpeed files from the top
        (tmp_path / name).symlink_to(ROOT / name)
    recipe = load(path)
    recipe.pop("deepspeed", None)
    rewarding = [entry["model"] for entry in recipe.get("rewards", ()) if "model" in entry]
    for name in filter(lambda name: name.startswith("saves/"), (recipe["model_name_or_path"], *rewarding)):
        model = tmp_path / name  # what an earlier recipe makes
        model.mkdir(parents=True)
        for file, text in {"config.json": "{}", "value_head.safetensors": "", FILE: TEMPLATE}.items():
            (model / file).write_text(text)
    parsed = get_train_args(read_args({**recipe, "use_cpu": True, "output_dir": str(tmp_path / "out")}))
    model_args, data_args, training_args, finetuning_args, _ = parsed
    given = {key: value for key, value in recipe.items() if key in vars(finetuning_args)}
    assert given == {key: getattr(finetuning_args, key) for key in given} | {
        key: given[key]
        for key in ("lora_target", "pref_loss")
        if key in given  # parsed into a list, and a mix into one name
    }
    assert training_args.learning_rate == recipe.get("learning_rate", training_args.learning_rate)
    assert data_args.template == recipe["template"]
    assert model_args.model_name_or_path == recipe["model_name_or_path"]


@each_recipe
def test_template_is_one_that_llamafactory_has(path: Path) -> None:
    from llamafactory.data.template import TEMPLATES

    assert load(path)["template"] in TEMPLATES


@pytest.mark.parametrize("path", [p for p in RECIPES if "deepspeed" in load(p)], ids=lambda p: p.stem)
def test_deepspeed_file_exists(path: Path) -> None:
    assert (ROOT / load(path)["deepspeed"]) in DEEPSPEED


@pytest.mark.parametrize("path", DEEPSPEED, ids=lambda p: p.stem)
def test_deepspeed_file_is_what_its_name_says(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    zero = config["zero_optimization"]
    assert zero["stage"] == (2 if "_z2_" in path.name else 3)
    assert ("offload_optimizer" in zero) == ("offload" in path.name)
    assert ("offload_param" in zero) == ("_z3_offload_" in path.name)
    batch = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    assert {config[key] for key in batch} == {"auto"}, "sizes are the recipe's to say"


def test_qwen2_vl_2b_recipes_have_their_authors_settings() -> None:
    common = {
        "finetuning_type": "full",
        "flash_attn": "sdpa",  # theirs is fa2, which computes the same and has to be installed
        "deepspeed": "examples/deepspeed/ds_z2_config.json",
        "template": "qwen2_vl",
        "cutoff_len": 4096,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 32,  # x 4 GPUs = 128
        "num_train_epochs": 1.0,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.0,
        "bf16": True,
    }
    own = {
        "uni_dpo": {
            "pref_loss": "uni_dpo",
            "learning_rate": 6e-6,
            "pref_beta": 2.0,
            "uni_dpo_qual_eta": 0.7,
            "uni_dpo_tau_ref": 2.0,
            "uni_dpo_perf_gamma": 3.0,
            "uni_dpo_nll_lambda": 0.001,
            "uni_dpo_tau_good": 2.5,
        },
        "dpo": {
            "pref_loss": "sigmoid",
            "learning_rate": 5e-7,
            "pref_beta": 0.1,
            "dpo_label_smoothing": 0.1,
            "dpo_average_log_prob": True,
        },
        "simpo": {"pref_loss": "simpo", "learning_rate": 5e-7, "pref_beta": 2.0, "simpo_gamma": 1.0},
    }
    for name, settings in own.items():
        recipe = load(EXAMPLES / "qwen2_vl_2b" / f"{name}.yaml")
        assert {key: recipe.get(key) for key in common | settings} == common | settings


def test_quickstart_evaluations_differ_in_the_model_only() -> None:
    before, after = (load(EXAMPLES / "quickstart" / f"eval_{name}.yaml") for name in ("before", "after"))
    assert before["model_name_or_path"] == load(EXAMPLES / "quickstart" / "sft.yaml")["output_dir"]
    assert after["model_name_or_path"] == load(EXAMPLES / "quickstart" / "uni_dpo.yaml")["output_dir"]
    assert {key for key in before | after if before.get(key) != after.get(key)} == {"model_name_or_path", "output_dir"}
