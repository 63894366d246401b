# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipes of the source systems have their settings, and their own YAML files are taken as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
_TEXT = {"finetuning_type": "full", "cutoff_len": 2048, "max_prompt_length": 1800, "lr_scheduler_type": "cosine"}
_TEXT |= {"num_train_epochs": 1.0, "warmup_ratio": 0.1, "bf16": True, "seed": 42, "gradient_accumulation_steps": 16}
_WEIGHTS = {"pref_loss": "uni_dpo", "uni_dpo_qual_eta": 0.7, "uni_dpo_perf_gamma": 3.0}
_TEXT |= _WEIGHTS | {"uni_dpo_nll_lambda": 0.001, "uni_dpo_tau_good": 3.2}
_TRL = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "learning_rate": 5e-5}
_TRL |= {"num_train_epochs": 1.0, "lora_target": "all", "finetuning_type": "lora"}
_LLAVA = _TRL | {"stage": "dpo", "pref_loss": "sigmoid", "dataset": "rlaif_v"}
# The authors' keys that LlamaFactory still has; it refuses train_mm_proj_only.
OPENVLTHINKER = """
model_name_or_path: Qwen/Qwen2.5-VL-7B-Instruct
image_max_pixels: 262144
stage: sft
do_train: true
finetuning_type: full
freeze_vision_tower: true
freeze_multi_modal_projector: true
dataset: openvlthinker_sft_iter3
template: qwen2_vl
per_device_train_batch_size: 2
gradient_accumulation_steps: 4
learning_rate: 5.0e-6
num_train_epochs: 1.0
lr_scheduler_type: cosine
warmup_ratio: 0.15
bf16: true
"""
PIPELINE = """
model_name_or_path: Qwen/Qwen3-VL-4B-Instruct
stage: dpo
do_train: true
finetuning_type: lora

dataset: topic_overwrite
template: qwen3_vl

lora_rank: 8
lora_target: all

per_device_train_batch_size: 2
gradient_accumulation_steps: 4
learning_rate: 5.0e-5
num_train_epochs: 3.0

bf16: true
output_dir: outputs/qwen3-vl-dpo
"""
SETTINGS: dict[str, dict[str, Any]] = {
    "openvlthinker/sft": yaml.safe_load(OPENVLTHINKER),
    "qwen3_vl_4b/dpo_lora": yaml.safe_load(PIPELINE)
    | {"template": "qwen3_vl_nothink", "output_dir": "saves/qwen3_vl_4b/dpo_lora"},
    "trl_llava/llava_1_5_7b": _LLAVA | {"model_name_or_path": "llava-hf/llava-1.5-7b-hf"},
    "trl_llava/llava_next_mistral": _LLAVA | {"model_name_or_path": "llava-hf/llava-v1.6-mistral-7b-hf"},
    "trl_llava/llava_next_vicuna": _LLAVA | {"model_name_or_path": "llava-hf/llava-v1.6-vicuna-7b-hf"},
    "trl_llava/llava_next_llama3": _LLAVA | {"model_name_or_path": "llava-hf/llama3-llava-next-8b-hf"},
    "trl_llava/idefics2_8b": _LLAVA | {"model_name_or_path": "HuggingFaceM4/idefics2-8b"},
    "trl_llava/vqa_rad_sft": _TRL | {"stage": "sft", "dataset": "vqa_rad"},
    "resonance_guide/sft_demo": {"stage": "sft", "dataset": "demo_sft", "cutoff_len": 512, "num_train_epochs": 1.0}
    | {"per_device_train_batch_size": 2, "learning_rate": 5e-5, "lora_rank": 16, "report_to": "none"},
    "resonance_guide/dpo_production": {"stage": "dpo", "dataset": "vlfeedback", "per_device_train_batch_size": 4}
    | {"gradient_accumulation_steps": 8, "learning_rate": 1e-5, "num_train_epochs": 1.0, "lora_rank": 64}
    | {"lora_alpha": 16, "pref_beta": 0.1, "cutoff_len": 1024, "bf16": True},
    "llama3_8b_base/uni_dpo": _TEXT
    | {"learning_rate": 1e-6, "pref_beta": 2.0, "uni_dpo_tau_ref": 0.8, "per_device_train_batch_size": 2},
    "llama3_8b_instruct/uni_dpo": _TEXT
    | {"learning_rate": 1e-6, "pref_beta": 2.0, "uni_dpo_tau_ref": 1.0, "per_device_train_batch_size": 2},
    "llama3_8b_armorm/uni_dpo": _TEXT
    | {"learning_rate": 1e-6, "pref_beta": 10.0, "uni_dpo_tau_ref": 1.0, "per_device_train_batch_size": 1}
    | {"gradient_accumulation_steps": 8},
    "gemma2_9b/uni_dpo": _TEXT
    | {"learning_rate": 8e-7, "pref_beta": 10.0, "uni_dpo_tau_ref": 0.8, "per_device_train_batch_size": 1},
    "qwen2_5_7b/uni_dpo": _TEXT
    | {"learning_rate": 2e-6, "pref_beta": 3.5, "uni_dpo_tau_ref": 0.8, "per_device_train_batch_size": 1},
    "qwen2_5_math_7b/uni_dpo": _WEIGHTS
    | {"learning_rate": 1e-6, "pref_beta": 2.0, "uni_dpo_tau_ref": 2.0, "uni_dpo_nll_lambda": 0.2}
    | {"uni_dpo_tau_good": 8.0, "cutoff_len": 4096, "max_prompt_length": 1000, "num_train_epochs": 2.0}
    | {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16},
}
# The entry of OpenVLThinker's document.
ENTRY = {
    "hf_hub_url": "ydeng9/OpenVLThinker-sft-iter3",
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_recipe_has_the_settings_of_its_source(name: str) -> None:
    recipe = yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert {key: recipe.get(key) for key in SETTINGS[name]} == SETTINGS[name]


def test_stages_of_reinforcement_have_the_settings_of_openvlthinker() -> None:
    common = {"num_generations": 5, "learning_rate": 1e-6, "weight_decay": 0.01, "kl_coef": 0.01, "top_p": 0.99}
    common |= {"clip_low": 0.2, "clip_high": 0.3, "loss_aggregation": "token-mean", "max_new_tokens": 2048}
    common |= {"image_max_pixels": 262144, "image_min_pixels": 262144, "rewards": [{"name": "r1v"}]}
    own = {"medium": (True, 5.0, "saves/openvlthinker/sft"), "hard": (False, 15.0, "saves/openvlthinker/grpo_medium")}
    for stage, (frozen, epochs, model) in own.items():
        recipe = yaml.safe_load((ROOT / "examples" / "openvlthinker" / f"grpo_{stage}.yaml").read_text())
        assert {key: recipe[key] for key in common} == common
        assert recipe["freeze_vision_tower"] is frozen and recipe["num_train_epochs"] == epochs
        assert recipe["model_name_or_path"] == model, "what the stage before it makes"


def test_the_entry_of_openvlthinkers_document() -> None:
    info = json.loads((ROOT / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    assert info["openvlthinker_sft_iter3"] == ENTRY


@pytest.mark.parametrize("text", [OPENVLTHINKER, PIPELINE], ids=["openvlthinker", "pipeline"])
def test_a_file_of_the_source_is_taken_as_it_is(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.hparams import get_train_args, read_args

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    given = yaml.safe_load(text)
    parsed = get_train_args(read_args({"output_dir": "out", **given, "use_cpu": True}))
    found = {key: value for part in parsed for key, value in vars(part).items()}
    found |= {key: ",".join(found[key]) for key in ("dataset", "lora_target")}  # parsed into lists
    assert {key: found[key] for key in given} == given


def test_a_key_that_llamafactory_removed_is_refused_by_name(tmp_path: Path) -> None:
    from llamafactory.hparams import get_train_args, read_args

    given = {**yaml.safe_load(OPENVLTHINKER), "train_mm_proj_only": False, "use_cpu": True}
    with pytest.raises(ValueError, match="train_mm_proj_only: no such key"):
        get_train_args(read_args({**given, "dataset_dir": str(ROOT / "data"), "output_dir": str(tmp_path / "out")}))
