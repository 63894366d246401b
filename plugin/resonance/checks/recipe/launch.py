# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The commands that start a recipe, word for word. Standard library only."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

USUAL_GPUS, USUAL_NODES = 8, 2


def commands(
    given: Mapping[str, Any], recipe: str, overrides: Sequence[str], gpus: int = 1, nodes: int = 1
) -> dict[str, str]:
    """On what -> the command.

    Args:
        given: the recipe.
        recipe: its file.
        overrides: KEY=VALUEs that were typed behind it.
        gpus, nodes: as typed; 1 shows the usual number.
    """
    train = shlex.join(["llamafactory-cli", "train", recipe, *overrides])
    many = gpus if gpus > 1 else USUAL_GPUS
    wide = nodes if nodes > 1 else USUAL_NODES
    if given.get("use_cpu"):
        ranks = gpus if gpus > 1 else 2
        return {"CPU:": train, f"CPU, {ranks} processes:": f"FORCE_TORCHRUN=1 NPROC_PER_NODE={ranks} {train}"}
    of_ray = [key for key in given if key.startswith("ray_")]
    if of_ray:
        return {f"Ray, ray_num_workers: {given.get('ray_num_workers', 1)}:": f"USE_RAY=1 {train}"}
    alone = "FORCE_TORCHRUN=1 NPROC_PER_NODE=1 " if given.get("deepspeed") else "CUDA_VISIBLE_DEVICES=0 "
    torchrun = f"FORCE_TORCHRUN=1 NPROC_PER_NODE={many} {train}"
    place = f"NNODES={wide} NODE_RANK=0 MASTER_ADDR=HOST_OF_NODE_0 MASTER_PORT=29500"
    return {
        f"1 GPU, {_batch(given, 1)}:": alone + train,
        f"{many} GPUs, {_batch(given, many)}:": torchrun,
        f"{wide} x {many} GPUs, {_batch(given, many * wide)}:": f"{place} {torchrun}  # NODE_RANK=1 on the next node",
    }


def _batch(given: Mapping[str, Any], devices: int) -> str:
    size, steps = given.get("per_device_train_batch_size", 8), given.get("gradient_accumulation_steps", 1)
    counted = isinstance(size, int) and isinstance(steps, int)
    return f"{size * steps * devices} rows a step" if counted else "rows a step unknown"
