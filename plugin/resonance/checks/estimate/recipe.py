# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A recipe as numbers: what trains how, and on how many GPUs. Imports LlamaFactory in functions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...arguments.beyond import reads_corrupted
from .known import known_config
from .shapes import Setup

STAGES = ("dpo", "rm", "sft")
# Bytes of optimizer states a trained float32 parameter; Transformers' names.
OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "paged_adamw", "paged_adamw_32bit"), 8),
    **dict.fromkeys(("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit"), 2),
    **{"lion_32bit": 4, "lion_8bit": 1, "paged_lion_8bit": 1, "adafactor": 0, "sgd": 0},
}
# Methods whose memory is not modelled: saying nothing would be a wrong number.
UNMODELLED = ("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon", "use_unsloth", "use_kt", "use_mca")


def parse(recipe: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """LlamaFactory's model, data and finetuning arguments of a recipe, without what a run would check or create.

    Raises:
        ValueError: keys that do not exist, values that are not allowed, or a stage that is not modelled.
    """
    from llamafactory.hparams import parser
    from transformers import HfArgumentParser

    from ...arguments.names import known_keys, unknown_keys

    found = unknown_keys(recipe, known_keys(parser))
    if recipe.get("stage", "sft") not in STAGES:
        found.append(f"stage: {recipe['stage']!r} is not modelled; allowed: {', '.join(STAGES)}")
    if not recipe.get("model_name_or_path"):
        found.append("model_name_or_path: missing; a folder with config.json or a model of the hub")
    if found:
        raise ValueError("\n  - ".join(["the recipe has a problem:", *found]))
    classes = (parser.ModelArguments, parser.DataArguments, parser.FinetuningArguments)
    # an existing adapter is continued: same size as the one the other keys describe, and no file has to be there
    given = {**recipe, "adapter_name_or_path": None, "pissa_init": False}
    try:
        model_args, data_args, finetuning_args = (
            HfArgumentParser(cls).parse_dict(given, allow_extra_keys=True)[0] for cls in classes
        )
    except (AssertionError, TypeError) as error:  # LlamaFactory's own checks of values
        raise ValueError(f"the recipe has a problem: {error}") from error
    return model_args, data_args, finetuning_args


def read_setup(recipe: Mapping[str, Any], model_args: Any, finetuning_args: Any, world_size: int) -> Setup:
    """How the recipe trains.

    Raises:
        ValueError: the DeepSpeed file cannot be read, or numbers are not positive.
    """
    import transformers

    deepspeed = read_deepspeed(recipe.get("deepspeed"))
    zero = deepspeed.get("zero_optimization") or {}
    half = bool(recipe.get("bf16") or recipe.get("fp16") or finetuning_args.pure_bf16)
    adapters = finetuning_args.finetuning_type in ("lora", "oft")
    reference = "none"
    if finetuning_args.stage == "dpo" and finetuning_args.use_ref_model:
        shared = finetuning_args.finetuning_type == "lora" and not finetuning_args.ref_model
        reference = "adapter off" if shared else "copy"
    checkpointing = not model_args.disable_gradient_checkpointing
    return Setup(
        stage=finetuning_args.stage,
        adapters=adapters,
        reference=reference,
        checkpointing=checkpointing,
        tower_graph=adapters and checkpointing and int(transformers.__version__.partition(".")[0]) >= 5,
        autocast=half and not finetuning_args.pure_bf16 and not deepspeed,
        compute_bytes=2 if half else 4,
        zero=int(zero.get("stage", 0)) if deepspeed else None,
        offload_optimizer=offloads(zero, "offload_optimizer"),
        offload_weights=offloads(zero, "offload_param"),
        optimizer_bytes=OPTIMIZERS.get(str(recipe.get("optim", "adamw_torch")), 8),
        world_size=world_size,
        batch=positive(recipe, "per_device_train_batch_size", 8),
        accumulation=positive(recipe, "gradient_accumulation_steps", 1),
        reference_on_disk=reference != "none" and recipe.get("precompute_ref_log_probs") is True,
    )


def notes(recipe: Mapping[str, Any], finetuning_args: Any) -> list[str]:
    """What the numbers leave out for this recipe."""
    optimizer = str(recipe.get("optim", "adamw_torch"))
    remarks = {
        f"optim: {optimizer}: not modelled; counted as AdamW, 8 bytes a trained parameter": optimizer
        not in OPTIMIZERS,
        "adapter_name_or_path: counted as a new adapter of the recipe's own rank and targets": recipe.get(
            "adapter_name_or_path"
        ),
        "model_name_or_path: the shape that comes with Resonance; nothing of the model was read": not os.path.isdir(
            str(recipe.get("model_name_or_path"))
        )
        and known_config(str(recipe.get("model_name_or_path"))),
        "fsdp: not modelled; counted as plain data parallelism": recipe.get("fsdp"),
        "do_train: not true; these are the numbers of a training, an evaluation needs less": not recipe.get(
            "do_train"
        ),
        "ref_model: counted as a copy of the model itself": finetuning_args.ref_model,
        f"pref_loss: {finetuning_args.pref_loss}: the chosen response beside corrupted images, a third row a pair, is "
        "not counted": finetuning_args.stage == "dpo" and reads_corrupted(finetuning_args.pref_loss),
    }
    unmodelled = [f"{key}: not modelled; counted as if it were off" for key in UNMODELLED if recipe.get(key)]
    return unmodelled + [remark for remark, holds in remarks.items() if holds]


def read_deepspeed(given: Any) -> dict[str, Any]:
    """The DeepSpeed configuration of a recipe, a mapping or a JSON file below the current folder; empty without one.

    Raises:
        ValueError: the file cannot be read, or is not JSON.
    """
    if not given or isinstance(given, dict):
        return given or {}
    try:
        return json.loads(Path(given).read_text(encoding="utf-8"))
    except OSError as error:
        why = f"{error.strerror or error}; the path is taken from the current folder, {Path.cwd()}"
        raise ValueError(f"deepspeed: cannot read {given}: {why}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"deepspeed: {given} is not JSON: {error}") from error


def offloads(zero: Mapping[str, Any], key: str) -> bool:
    return (zero.get(key) or {}).get("device", "none") != "none"


def positive(recipe: Mapping[str, Any], key: str, default: int) -> int:
    value = recipe.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{key}: {value!r}; allowed: a whole number from 1")
    return value
