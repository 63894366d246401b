# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The text of a recipe."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from .build import Recipe

_SECTIONS = {
    "model": "model_name_or_path flash_attn quantization_bit quantization_method",
    "method": "stage pref_loss pref_beta ppo_variant rewards kl_coef cliprange cliprange_value vf_coef gamma lam "
    "kl_horizon kl_estimator critic ppo_target ppo_epochs ppo_buffer_size ppo_whiten_rewards max_new_tokens do_train "
    "finetuning_type lora_rank lora_alpha lora_dropout lora_target additional_target freeze_vision_tower "
    "freeze_multi_modal_projector disable_gradient_checkpointing deepspeed",
    "dataset": "dataset_dir dataset template cutoff_len max_prompt_length max_target_length overlong score_margin "
    "data_ratio preprocessing_num_workers",
    "output": "output_dir logging_steps save_strategy save_steps save_total_limit report_to project_name group_name "
    "run_name",
    "train": "",
    "eval": "val_size eval_strategy eval_steps per_device_eval_batch_size",
}
_PURPOSE = {
    "sft": "supervised fine-tuning",
    "dpo": "direct preference optimization",
    "ppo": "proximal policy optimization",
}
_WIDTH = 119


def write(recipe: Recipe, path: str) -> str:
    """The recipe as YAML, with what was not typed, changed or refused said in comments.

    Args:
        recipe: with all its keys.
        path: where it will lie, for its command.
    """
    lines = _header(recipe, path)
    placed = {key for keys in _SECTIONS.values() for key in keys.split()}
    for section, names in _SECTIONS.items():
        keys = names.split() or [key for key in recipe.keys if key not in placed]
        held = [key for key in keys if key in recipe.keys]
        lines += ["", f"### {section}"] if held else []
        for key in held:
            lines += _comment(recipe.notes[key]) if key in recipe.notes else []
            lines.append(f"{key}: {_scalar(recipe.keys[key])}")
    return "\n".join(lines) + "\n"


def command_of(recipe: Recipe, path: str) -> str:
    """The command that trains it."""
    return " ".join([*(f"{name}={value}" for name, value in recipe.variables.items()), "llamafactory-cli train", path])


def _header(recipe: Recipe, path: str) -> list[str]:
    gpus = recipe.variables.get("NPROC_PER_NODE") or ("all" if recipe.variables.get("FORCE_TORCHRUN") else "1")
    topics = {
        "Purpose": f"{_PURPOSE[recipe.stage]}, made of a command of the Resonance guide's {recipe.stage}.py",
        "Data": f"{recipe.keys['dataset']}: `{recipe.data}`",
        "Command": command_of(recipe, path),
        "GPUs": f"{gpus} (memory: see `resonance estimate`)",
        "Refused": "; ".join(f"--{name}: {why}" for name, why in recipe.refused.items()),
        "Left": "; ".join(f"--{name}: no effect, {why}" for name, why in recipe.idle.items()),
    }
    lines = []
    for topic, text in topics.items():
        if topic in ("Command", "Data"):  # to be copied as one line
            lines.append(f"# {topic + ':':<9}{text}")
        elif text:
            lines += textwrap.wrap(text, _WIDTH, initial_indent=f"# {topic + ':':<9}", subsequent_indent="#          ")
    return lines


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")
