# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Options of `accelerate launch`, `torchrun` and `deepspeed`, as LlamaFactory is launched with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from .words import Value

_VARIABLES = {
    "num_processes": "NPROC_PER_NODE",
    "nproc_per_node": "NPROC_PER_NODE",
    "num_gpus": "NPROC_PER_NODE",
    "num_machines": "NNODES",
    "nnodes": "NNODES",
    "machine_rank": "NODE_RANK",
    "node_rank": "NODE_RANK",
    "main_process_ip": "MASTER_ADDR",
    "master_addr": "MASTER_ADDR",
    "main_process_port": "MASTER_PORT",
    "master_port": "MASTER_PORT",
    "gpu_ids": "CUDA_VISIBLE_DEVICES",
    "num_cpu_threads_per_process": "OMP_NUM_THREADS",
}
_OF_NODES = ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
# What LlamaFactory does by itself, or what another option says already.
_NOTHING = ("multi_gpu", "use_deepspeed", "dynamo_backend", "mixed_precision", "deepspeed_config_file", "config_file",
            "zero_stage", "offload_optimizer_device", "offload_param_device", "gradient_accumulation_steps",
            "gradient_clipping", "standalone", "same_network", "rdzv_backend")  # fmt: skip
_FSDP = "use examples/accelerate/fsdp2_config.json with `accelerate launch -m llamafactory.launcher RECIPE`"
_DEEPSPEED = "examples/deepspeed/ds_z{stage}{offload}_config.json"


class Launch(NamedTuple):
    """How a recipe is launched.

    Attributes:
        variables: of the environment, before the command.
        keys: of the recipe.
        notes: on these keys, by key.
        refused: options that have no counterpart, and why.
    """

    variables: dict[str, str]
    keys: dict[str, Any]
    notes: dict[str, str]
    refused: dict[str, str]


def read(options: Mapping[str, Value], environment: Mapping[str, str]) -> Launch:
    """Translate the options of a launcher, and those of its configuration file if that is here."""
    found = Launch({}, {}, {}, {})
    if "CUDA_VISIBLE_DEVICES" in environment:
        found.variables["CUDA_VISIBLE_DEVICES"] = environment["CUDA_VISIBLE_DEVICES"]
    if not options:
        return found
    file = str(options.get("config_file", ""))
    settings: dict[str, Any] = {**_configuration(file), **options}
    total = settings.get("num_processes")
    nodes = int(settings.get("num_machines") or 1)
    if total is not None and nodes > 1 and str(total).isdigit():  # accelerate counts all nodes, LlamaFactory one
        settings["num_processes"] = int(total) // nodes
    for name, value in settings.items():
        variable = _VARIABLES.get(name)
        if variable is None:
            if name in options and name not in _NOTHING:
                found.refused[name] = "LlamaFactory's launcher has nothing like it; see `accelerate launch -h`"
        elif "$" in str(value):
            found.refused[name] = f"{value} is known to the shell alone; set {variable} yourself"
        elif variable not in _OF_NODES or nodes > 1 or name in options:
            found.variables[variable] = str(value)
    if settings.get("mixed_precision") in ("bf16", "fp16"):
        found.keys[str(settings["mixed_precision"])] = True
    if str(settings.get("dynamo_backend", "no")).lower() != "no":
        found.refused["dynamo_backend"] = "torch.compile cannot trace Resonance's forward; remove it"
    _shard(found, settings, file)
    found.variables.setdefault("FORCE_TORCHRUN", "1")
    return found


def _configuration(file: str) -> dict[str, Any]:
    """Settings of accelerate's file that stand for options; none if it is not here."""
    if not file or not Path(file).is_file():
        return {}
    import yaml

    loaded = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
    known = (*_VARIABLES, "mixed_precision", "distributed_type")
    settings = {name: loaded[name] for name in known if loaded.get(name) not in (None, "all")}
    inner = loaded.get("deepspeed_config") or {}
    return settings | {name: inner[name] for name in ("zero_stage", "offload_optimizer_device") if name in inner}


def _shard(found: Launch, settings: Mapping[str, Any], file: str) -> None:
    """ZeRO by its stage, or by the name of a configuration file that is not here; FSDP is refused with the way."""
    name = PurePath(file).name.lower()
    stage = str(settings.get("zero_stage", "")) or next((each for each in "23" if f"zero{each}" in name), "")
    if "fsdp" in name or "fsdp" in str(settings.get("distributed_type", "")).lower() or "use_fsdp" in settings:
        found.refused["use_fsdp" if "use_fsdp" in settings else "config_file"] = f"FSDP: {_FSDP}"
    elif stage in ("2", "3"):
        offload = "offload" in name or settings.get("offload_optimizer_device") not in (None, "none")
        found.keys["deepspeed"] = _DEEPSPEED.format(stage=stage, offload="_offload" * offload)
        found.notes["deepspeed"] = f"ZeRO-{stage}, as {file or '--zero_stage'} has it"
    elif file and not Path(file).is_file() and "ddp" not in name:
        found.refused["config_file"] = (
            f"{file} is not here, and its name does not tell what it sets; give `deepspeed:`"
        )
