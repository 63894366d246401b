# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `resonance estimate` computes for a cell of the GPU benchmark, to be seen beside what was measured."""

from __future__ import annotations

from types import SimpleNamespace

from benchmarks.gpu_step import CACHED, NO_CHECKPOINTING, TEXT, Bench, responses, speedups_of


def estimate(bench: Bench, work: tuple[int, int, int], pairs: int, variant: str) -> tuple[float, float]:
    """(FLOPs, peak bytes) by `resonance estimate`'s arithmetic; the optimizer's states are not on the device."""
    from resonance.checks.estimate.flops import step_flops
    from resonance.checks.estimate.memory import step_memory
    from resonance.checks.estimate.model import count
    from resonance.checks.estimate.shapes import Setup, Speedups, Workload

    height, width, _ = work
    lora = bench.mode == "lora"
    setup = Setup(
        stage="dpo",
        adapters=lora,
        reference="none" if CACHED in variant else "adapter off" if lora else "copy",
        checkpointing=NO_CHECKPOINTING not in variant,
        tower_graph=lora,
        autocast=True,
        compute_bytes=2,
        zero=None,
        offload_optimizer=False,
        offload_weights=False,
        optimizer_bytes=0,
        world_size=1,
        batch=pairs,
        accumulation=1,
    )
    plain = 2.0 * sum(p.numel() for p in bench.base.parameters() if bench.mode == "full")
    model = count(bench.model, bench.config, SimpleNamespace(quantization_bit=None), plain)
    on = Speedups(**dict.fromkeys(speedups_of(variant), True))
    answers = responses(work, pairs)
    mean, prompt = sum(answers) / pairs, TEXT + 2 + height * width
    spread = (prompt + 2 * max(answers)) / (prompt + 2 * mean)
    row = Workload(TEXT + 2, 1, height * width, round(mean), spread=spread)
    flops = sum(step_flops(model, setup, row, on).values())
    return flops, step_memory(model, setup, row, on).peak
