# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Packages that a recipe asks for and that are not installed, and settings of one that another cannot have."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from importlib.util import find_spec
from typing import Any

from ...arguments.places import names

# key -> value -> (module, what pip calls it)
_PACKAGES: dict[str, dict[Any, tuple[str, str]]] = {
    "use_unsloth": {True: ("unsloth", "unsloth")},
    "enable_liger_kernel": {True: ("liger_kernel", "liger-kernel")},
    "use_galore": {True: ("galore_torch", "galore-torch")},
    "use_apollo": {True: ("apollo_torch", "apollo-torch")},
    "use_badam": {True: ("badam", "'badam>=1.2.1'")},
    "use_adam_mini": {True: ("adam_mini", "adam-mini")},
    "use_swanlab": {True: ("swanlab", "swanlab")},
    "use_kt": {True: ("kt_kernel", "kt-kernel")},
    "predict_with_generate": {True: ("rouge_chinese", "jieba nltk rouge-chinese")},
    "flash_attn": {"fa2": ("flash_attn", "flash-attn --no-build-isolation")},
    "quantization_method": {
        "bnb": ("bitsandbytes", "'bitsandbytes>=0.43.0'"),
        "hqq": ("hqq", "hqq"),
        "eetq": ("eetq", "eetq"),
    },
    "optim": {
        **dict.fromkeys(
            ("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "paged_adamw", "lion_8bit"),
            ("bitsandbytes", "bitsandbytes"),
        )
    },
    "report_to": {
        name: (name, name) for name in ("wandb", "swanlab", "trackio", "mlflow", "comet_ml", "clearml", "neptune")
    },
}
_EXPRESSIONS = ("numeric", "r1v")  # rewards that compare them
_NO_ZERO3_WITH = {"hqq": "HQQ", "eetq": "EETQ"}


def is_installed(module: str) -> bool:
    return find_spec(module) is not None


def package_problems(given: Mapping[str, Any]) -> list[str]:
    """Packages that keys of a recipe need and that are not here, each with its cure."""
    values = dict(given)
    if given.get("quantization_bit"):
        values.setdefault("quantization_method", "bnb")
    else:
        values.pop("quantization_method", None)
    found = []
    for key, by_value in _PACKAGES.items():
        given_here = names(values.get(key)) if key == "report_to" else [values.get(key)]
        for value in (each for each in given_here if isinstance(each, Hashable)):  # `values` has told of the others
            module, package = by_value.get(value, ("", ""))
            if module and not is_installed(module):
                found.append(f"{key}: {value} needs {module}, which is not installed; `pip install {package}`")
    return found


def zero_problems(given: Mapping[str, Any], zero: Mapping[str, Any]) -> list[str]:
    """Settings that do not go with the ZeRO stage of a recipe's DeepSpeed file.

    Args:
        given: the recipe.
        zero: `zero_optimization` of the file; empty without one.
    """
    stage, found = zero.get("stage", 0), list[str]()
    if type(stage) is not int:
        return [f"deepspeed: the file has stage: {stage!r} where 0, 1, 2 or 3 is needed"]
    if given.get("deepspeed") and not zero:
        found.append("deepspeed: the file has no `zero_optimization`, so nothing is shared between GPUs")
    for key, device in (("offload_optimizer", "stage: 1, 2 or 3"), ("offload_param", "stage: 3")):
        part = zero.get(key)
        offloads = isinstance(part, Mapping) and part.get("device", "none") != "none"
        if offloads and (stage < 1 or (key == "offload_param" and stage != 3)):
            found.append(f"deepspeed: {key} works with {device} alone, and the file has stage: {stage}")
    if stage != 3:
        return found
    method, bits = given.get("quantization_method", "bnb"), given.get("quantization_bit")
    if bits and (bits != 4 or method in _NO_ZERO3_WITH):
        found.append(f"quantization_bit: {bits} with {method} does not go with ZeRO-3; 4 bits with bnb do")
    for key in ("pure_bf16", "use_unsloth", "use_kt", "pissa_init", "predict_with_generate"):
        if given.get(key):
            found.append(f"{key}: does not go with ZeRO-3; take examples/deepspeed/ds_z2_config.json")
    return found


def machine_problems(given: Mapping[str, Any]) -> list[str]:
    """Contradictions of the keys that choose numbers and devices, which a machine without a GPU does not parse."""
    found = []
    precisions = [key for key in ("bf16", "fp16", "pure_bf16") if given.get(key) is True]
    if len(precisions) > 1:
        found.append(f"{precisions[0]}: {' and '.join(precisions)} are both true; keep one")
    if given.get("use_cpu") and given.get("fp16"):
        found.append("fp16: does not go with `use_cpu: true`; remove it")
    if given.get("use_cpu") and given.get("quantization_bit"):
        found.append("quantization_bit: needs a GPU, and the recipe has `use_cpu: true`")
    if given.get("use_cpu") and given.get("deepspeed"):
        found.append("deepspeed: does not go with `use_cpu: true`; remove one of the two")
    if given.get("deepspeed") and given.get("fsdp"):
        found.append("fsdp: does not go with `deepspeed`; remove one of the two")
    return found


def package_warnings(given: Mapping[str, Any]) -> list[str]:
    """A package without which a run works, and does less."""
    rewards = given.get("rewards")
    entries = rewards if isinstance(rewards, list) else []
    read = [entry["name"] for entry in entries if isinstance(entry, dict) and entry.get("name") in _EXPRESSIONS]
    if not read or is_installed("math_verify"):
        return []
    return [
        f"rewards: {', '.join(read)}: math_verify is not installed, so plain numbers alone are compared and "
        "expressions count as wrong; `pip install math-verify==0.9.0`"
    ]
