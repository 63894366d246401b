# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every argument of the guide's tables by itself, with a value that is not its default: the recipe's key and value."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from resonance.cli.main import main
from translate.guide import DOCUMENTED, RECOMMENDED

TYPED = {
    "model_name_or_path": "Qwen/Qwen2-VL-2B-Instruct",
    "use_lora": "True",
    "q_lora": "True",
    "report_to": "wandb",
}
DATA = {
    "sft": {"dataset_name": "vlquery_json", "data_path": "rows.json", "image_root": "pics"},
    "dpo": {"dataset_name": "plain_dpo", "data_path": "rows.json", "image_root": "pics"},
    "ppo": {"data_path": "rows.json", "image_root": "pics"},
}
# What is typed, then key and value; in dpo.py with pairs of one's own unless script and set are named.
CASES: dict[str, tuple[Any, ...]] = {
    "model_name_or_path": ("Qwen/Qwen2.5-VL-3B-Instruct", "model_name_or_path", "Qwen/Qwen2.5-VL-3B-Instruct"),
    "freeze_vision_tower": ("False", "freeze_vision_tower", False),
    "use_flash_attention_2": ("True", "flash_attn", "fa2"),
    "data_ratio": ("0.5", "data_ratio", 0.5),
    "dataset_num_proc": ("2", "preprocessing_num_workers", 2),
    "max_length": ("900", "cutoff_len", 900),
    "max_prompt_length": ("300", "max_prompt_length", 300),
    "max_target_length": ("200", "max_target_length", 200),
    "use_lora": ("False", "finetuning_type", "full"),
    "lora_r": ("8", "lora_rank", 8),
    "lora_alpha": ("32", "lora_alpha", 32),
    "lora_dropout": ("0.1", "lora_dropout", 0.1, "sft"),
    "lora_target_modules": ("c_attn,attn.c_proj", "lora_target", "q_proj,k_proj,v_proj,o_proj"),
    "lora_bias": ("none", "lora_bias", None),
    "q_lora": ("False", "quantization_method", None),
    "bits": ("8", "quantization_bit", 8),
    "modules_to_save": ("lm_head", "additional_target", "lm_head"),
    "beta": ("0.3", "pref_beta", 0.3),
    "score_margin": ("1.5", "score_margin", 1.5, "dpo", "vlfeedback_paired"),
    "kl_coef": ("0.02", "kl_coef", 0.02, "ppo"),
    "cliprange": ("0.3", "cliprange", 0.3, "ppo"),
    "vf_coef": ("0.7", "vf_coef", 0.7, "ppo"),
    "eval_strategy": ("epoch", "eval_strategy", "epoch"),
    "eval_steps": ("7", "eval_steps", 7),
    "save_strategy": ("epoch", "save_strategy", "epoch"),
    "save_steps": ("9", "save_steps", 9),
    "save_total_limit": ("2", "save_total_limit", 2),
    "logging_steps": ("5", "logging_steps", 5),
    "report_to": ("tensorboard", "report_to", "tensorboard"),
    "project_name": ("mine", "project_name", "mine"),
    "group_name": ("ablation", "group_name", "ablation"),
    "run_name": ("first", "run_name", "first"),
    "per_device_train_batch_size": ("4", "per_device_train_batch_size", 4),
    "gradient_accumulation_steps": ("16", "gradient_accumulation_steps", 16),
    "learning_rate": ("5e-5", "learning_rate", 5e-5),
    "weight_decay": ("0.05", "weight_decay", 0.05),
    "warmup_ratio": ("0.1", "warmup_ratio", 0.1),
    "lr_scheduler_type": ("cosine", "lr_scheduler_type", "cosine"),
    "num_train_epochs": ("2", "num_train_epochs", 2),
    "bf16": ("True", "bf16", True),
    "gradient_checkpointing": ("False", "disable_gradient_checkpointing", True),
}
# What the other arguments become is in the command that makes the data set, and in the one that trains.
PRINTED: dict[str, tuple[str, str]] = {
    "dataset_name": ("rlhfv", "resonance data import rlhfv --out data"),
    "data_path": ("mine.json", "resonance data import plain_dpo mine.json"),
    "image_root": ("photos", "--image-root photos"),
    "num_processes": ("3", "NPROC_PER_NODE=3"),
    "config_file": ("accelerate_config/zero3.yaml", "deepspeed: examples/deepspeed/ds_z3_config.json"),
}
LAUNCHER = ("num_processes", "config_file")


def printed(name: str, given: str, capsys: pytest.CaptureFixture[str], script: str = "dpo", data: str = "") -> str:
    """What `import-args` prints for a command with this argument; `data` is a set of the hub."""
    arguments = TYPED | ({"dataset_name": data} if data else DATA[script]) | {name: given}
    words = {True: "", False: ""}
    for each, value in arguments.items():
        words[each in LAUNCHER] += f" --{each} {value}"
    code = main(["import-args", "--", f"accelerate launch{words[True]} src/resonance/{script}.py{words[False]}"])
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out + found.err


@pytest.mark.parametrize("name", CASES)
def test_it_becomes_its_key(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given, key, value, *how = CASES[name]
    assert yaml.safe_load(printed(name, given, capsys, *how)).get(key) == value


@pytest.mark.parametrize("name", PRINTED)
def test_it_is_in_the_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given, expected = PRINTED[name]
    data = given if name == "dataset_name" else ""
    assert expected in printed(name, given, capsys, data=data)


def test_it_takes_the_checkpoint_that_transformers_reads(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("model_name_or_path", "liuhaotian/llava-v1.6-mistral-7b", capsys)
    assert "\nmodel_name_or_path: llava-hf/llava-v1.6-mistral-7b-hf\n" in text
    assert "in place of liuhaotian/llava-v1.6-mistral-7b: Transformers reads the -hf checkpoint" in text


def test_no_argument_is_left_out() -> None:
    assert {*CASES, *PRINTED} == {*DOCUMENTED, *RECOMMENDED}
