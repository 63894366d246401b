# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What to change in a recipe, from the arithmetic. It only advises: none of this changes what a run does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from .flops import step_flops
from .memory import GIB, RESERVE, largest_batch, step_memory
from .shapes import Model, Setup, Speedups, Workload


def advise(model: Model, setup: Setup, work: Workload, on: Speedups, gpu: float | None) -> list[str]:
    """Sentences, most important first. `gpu` in GiB; without it only what does not depend on the GPU."""
    if gpu is None:
        return ["--gpu NAME or --gpu-memory GIB: advice for that GPU"]

    def peak(how: Setup) -> float:
        return step_memory(model, how, work, on).peak / GIB

    largest = largest_batch(model, setup, work, on, gpu * GIB)
    if largest < setup.batch:
        need = peak(setup) + RESERVE / GIB
        head = f"micro-batch {setup.batch} needs about {need:.0f} GiB, {gpu:g} are there: "
        return [head + (_split(setup, better_split(setup, largest)) if largest else _smaller(setup, peak, gpu))]
    found = []
    if (bigger := better_split(setup, largest)) > setup.batch:
        split = replace(setup, batch=bigger, accumulation=setup.batch * setup.accumulation // bigger)
        found.append(
            f"{_split(setup, bigger)} is the same global batch in fewer, larger steps: "
            f"{peak(split):.1f} GiB at the peak instead of {peak(setup):.1f}"
        )
    off = replace(setup, checkpointing=False, tower_graph=False)
    fits = largest_batch(model, off, work, on, gpu * GIB)
    if setup.checkpointing and better_split(off, fits):
        before, after = (sum(step_flops(model, how, work, on).values()) for how in (setup, off))
        found.append(
            f"disable_gradient_checkpointing: true fits up to a micro-batch of {fits} and takes {before / after:.2f} "
            f"times fewer FLOPs; {peak(replace(off, batch=1)):.1f} GiB at the peak with a micro-batch of 1"
        )
    return found


def better_split(setup: Setup, largest: int) -> int:
    """The largest micro-batch up to `largest` that divides batch x accumulation; 0 if none does."""
    whole = setup.batch * setup.accumulation
    return max((batch for batch in range(1, min(largest, whole) + 1) if whole % batch == 0), default=0)


def _split(setup: Setup, batch: int) -> str:
    accumulation = setup.batch * setup.accumulation // batch
    return f"per_device_train_batch_size: {batch} with gradient_accumulation_steps: {accumulation}"


def _smaller(setup: Setup, peak: Callable[[Setup], float], gpu: float) -> str:
    """What to do when not even one example fits."""
    ways = ["disable_gradient_checkpointing: false"] * (not setup.checkpointing)
    tries = (
        replace(setup, zero=stage, autocast=False, world_size=world, batch=1)
        for stage in (2, 3)
        if stage > (setup.zero or 0)
        for world in sorted({setup.world_size, 2, 4, 8, 16})
        if world >= max(setup.world_size, 2)
    )
    fits = (how for how in tries if peak(how) + RESERVE / GIB <= gpu)
    ways += [f"ZeRO-{how.zero} on {how.world_size} GPUs (examples/deepspeed/)" for how in islice(fits, 1)]
    ways += ["finetuning_type: lora"] * (not setup.adapters)
    return "; or ".join([*ways, "shorter rows (cutoff_len, image_max_pixels)"])
