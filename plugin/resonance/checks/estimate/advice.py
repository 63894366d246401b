# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What to change in a recipe, from the arithmetic. Standard library only.

It only advises: none of this changes what a run does.
"""

from __future__ import annotations

from dataclasses import replace

from .flops import step_flops
from .memory import GIB, RESERVE, largest_batch, step_memory
from .shapes import Lengths, Model, Path, Setup


def advise(model: Model, setup: Setup, lengths: Lengths, path: Path, gpu: float | None) -> list[str]:
    """Sentences, most important first. `gpu` in GiB; without it only what does not depend on the GPU."""
    if gpu is None:
        return ["--gpu NAME or --gpu-memory GIB: advice for that GPU"]
    largest = largest_batch(model, setup, lengths, path, gpu * GIB)
    if largest < setup.batch:
        return [fitting(model, setup, lengths, path, gpu, largest)]
    found = []
    bigger = better_split(setup, largest)
    if bigger > setup.batch:
        found.append(
            f"per_device_train_batch_size: {bigger} with gradient_accumulation_steps: "
            f"{setup.batch * setup.accumulation // bigger} is the same global batch in fewer, larger steps"
        )
    if setup.checkpointing:
        off = replace(setup, checkpointing=False, tower_graph=False)
        fits = largest_batch(model, off, lengths, path, gpu * GIB)
        if better_split(off, fits):
            before, after = (sum(step_flops(model, s, lengths, path).values()) for s in (setup, off))
            found.append(
                f"disable_gradient_checkpointing: true fits up to a micro-batch of {fits} and takes "
                f"{before / after:.2f} times fewer FLOPs"
            )
    return found


def better_split(setup: Setup, largest: int) -> int:
    """The largest micro-batch up to `largest` that divides batch x accumulation; 0 if none does."""
    whole = setup.batch * setup.accumulation
    return max((batch for batch in range(1, min(largest, whole) + 1) if whole % batch == 0), default=0)


def fitting(model: Model, setup: Setup, lengths: Lengths, path: Path, gpu: float, largest: int) -> str:
    """What to do when the recipe's micro-batch does not fit."""
    need = (step_memory(model, setup, lengths, path).peak + RESERVE) / GIB
    head = f"micro-batch {setup.batch} needs about {need:.0f} GiB, {gpu:g} are there: "
    if largest:
        batch = better_split(setup, largest)
        accumulation = setup.batch * setup.accumulation // batch
        return f"{head}per_device_train_batch_size: {batch} with gradient_accumulation_steps: {accumulation}"
    ways = []
    if not setup.checkpointing:
        ways.append("disable_gradient_checkpointing: false")
    tries = [
        replace(setup, zero=stage, autocast=False, world_size=world, batch=1)
        for stage in (2, 3)
        if stage > (setup.zero or 0)
        for world in (setup.world_size, 2, 4, 8, 16)
        if world >= setup.world_size and world > 1
    ]
    for attempt in tries:
        if step_memory(model, attempt, lengths, path).peak + RESERVE <= gpu * GIB:
            ways.append(f"ZeRO-{attempt.zero} on {attempt.world_size} GPUs (examples/deepspeed/)")
            break
    if not setup.adapters:
        ways.append("finetuning_type: lora")
    ways.append("shorter rows (cutoff_len, image_max_pixels)")
    return head + "; or ".join(ways)
