# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Prompts whose rows differ, a tiny policy whose answers do, and recipes that train it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from conftest import DATA, MODEL

# Pictures of each row: none, one or two.
PICTURES = (0, 1, 0, 2, 1, 1, 0, 0, 1, 0, 2, 1)
LORA = {"finetuning_type": "lora", "lora_rank": 4}
# A rollout is good for two passes of two optimizer steps.
COMMON = {
    "stage": "ppo",
    "max_new_tokens": 12,
    "rewards": [{"name": "format", "pattern": ".*[a-e].*"}, {"name": "length", "max_length": 6, "weight": 0.5}],
    "learning_rate": 1e-4,
    "per_device_train_batch_size": 4,
    "ppo_buffer_size": 2,
    "ppo_epochs": 2,
    "max_steps": 8,
    "num_train_epochs": None,
    "kl_coef": 0.05,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "ppo": {"ppo_variant": "ppo"},
    "grpo": {"ppo_variant": "grpo", "num_generations": 2},
}


def policy_recipe(folder: Path, variant: str = "grpo", **changes: Any) -> dict[str, Any]:
    """Changes to `base_recipe`: a variant on the prompts and the model that `write_policy` puts into `folder`."""
    places = {"dataset_dir": str(folder), "media_dir": str(folder), "model_name_or_path": str(folder / "model")}
    return {**COMMON, **places, "dataset": "prompts", **VARIANTS[variant], **changes}


def write_policy(folder: Path) -> Path:
    """Write the set `prompts`, `heldout`, and a model that ends about one answer in ten at each token."""
    rows = [
        {
            "instruction": "<image>" * count + f"Number {number}: what is it?" + " Say why." * (number % 3),
            "images": [str(DATA / "images" / f"{number + extra}.png") for extra in range(count)],
            "answer": str(number),
        }
        for number, count in enumerate(PICTURES)
    ]
    columns = {"prompt": "instruction", "images": "images"}
    info = {}
    for name, part in {"prompts": rows, "heldout": rows[:5]}.items():
        (folder / f"{name}.json").write_text(json.dumps(part))
        info[name] = {"file_name": f"{name}.json", "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    _write_model(folder / "model")
    return folder


def _write_model(folder: Path) -> None:
    model, tokenizer = AutoModelForImageTextToText.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    ids = torch.randint(0, 256, (4, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = model.model(input_ids=ids).last_hidden_state.mean((0, 1))
        model.lm_head.weight[tokenizer.eos_token_id] = 6 * hidden / hidden.square().sum()
    model.save_pretrained(folder)
    for file in MODEL.iterdir():
        if "model" not in file.name.split(".")[0] and file.name != "config.json":
            (folder / file.name).write_bytes(file.read_bytes())


def completions(output_dir: Path) -> list[dict[str, Any]]:
    """Lines of `completions.jsonl`."""
    return [json.loads(line) for line in (output_dir / "completions.jsonl").read_text().split("\n")[:-1]]


KILLING = '''\
import importlib, json, os, pathlib, random, signal

def letters(completions, **columns):
    """Draws random numbers, as somebody's reward may."""
    return [sum(map(str.isalpha, text)) / (len(text) + 1) + 0.1 * random.random() for text in completions]

def _kill_in(module, holder, name, call):
    holder = getattr(importlib.import_module(module), holder)
    original, calls = getattr(holder, name), []
    def wrapper(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(holder, name, wrapper)

_armed = pathlib.Path("kill.json")
if _armed.exists():
    _kill_in(*json.loads(_armed.read_text()))
    _armed.unlink()
'''
"""A module `killing` with a reward; where `kill.json` lies beside it, the process kills itself at that call."""
