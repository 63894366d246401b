# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A step on a GPU, JPEG pairs from disk into steps, and the largest micro-batch."""

from __future__ import annotations

import copy
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu_step import AUTO, LLAMAFACTORY, SHRUNKEN, Bench, speedups_of


def one_step(bench: Bench, step: Callable[[], Any]) -> tuple[float, float, int]:
    """Forward and backward: (ms in all, ms until everything was launched, peak bytes)."""
    import torch

    cuda = bench.device == "cuda"
    bench.model.zero_grad(set_to_none=True)
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    step().backward()
    launched = time.perf_counter()
    if cuda:
        torch.cuda.synchronize()
    done = time.perf_counter()
    return 1000 * (done - start), 1000 * (launched - start), torch.cuda.max_memory_allocated() if cuda else 0


def count_kernels(step: Callable[[], Any]) -> int:
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        step()
    return sum(event.device_type == DeviceType.CUDA for event in found.events())


def free(bench: Bench) -> None:
    import torch

    bench.model.zero_grad(set_to_none=True)
    gc.collect()
    if bench.device == "cuda":
        torch.cuda.empty_cache()


def data_cells(bench: Bench, deadline: float) -> Iterator[dict[str, Any]]:
    """JPEG pairs through each collator into the step of its trainer: pairs a second, and how long it waits.

    `waiting_share`: of the time, in which the step has no batch.
    """
    from torch.utils.data import DataLoader

    from benchmarks.collators import SIZES, make_collators, make_rows
    from resonance.forward.planner import Planner
    from resonance.forward.request import Request

    shrunken, pairs = bench.protocol is SHRUNKEN, bench.protocol.jpegs
    size = SIZES[0] if shrunken else SIZES[1]
    with tempfile.TemporaryDirectory() as folder:
        rows, collators = make_rows(Path(folder), pairs, size), make_collators(bench.base)
        for workers in (0, 1) if shrunken else (0, 4, 8):
            for name, variant in (("llamafactory", LLAMAFACTORY), ("resonance", AUTO)):
                found: dict[str, Any] = {"variant": name, "workers": workers, "outcome": "no time left"}
                if time.monotonic() <= deadline:
                    free(bench)
                    with bench.tokens_of(collators[name].tokenizer):
                        if variant == AUTO:
                            model = bench.theirs.accelerator.unwrap_model(bench.model)
                            collators[name].lay_out = planner = Planner()
                            planner.request = Request.of([model], speedups_of(AUTO), always=False)
                        options = dict(collate_fn=collators[name], num_workers=workers)
                        copied: Any = copy.deepcopy(rows)  # a list serves, which the type of DataLoader leaves out
                        loader: Any = DataLoader(copied, 2, pin_memory=bench.device == "cuda", **options)
                        seconds, waited = feed(bench, variant, loader)
                    found |= {"outcome": "ok", "size": list(size), "pairs_per_second": pairs / seconds}
                    found["waiting_share"] = waited / seconds
                yield found


def feed(bench: Bench, variant: str, loader: Any) -> tuple[float, float]:
    """Seconds for a step on every batch, and those of them in which it waited for one."""
    began = after = time.perf_counter()
    waited = 0.0
    for batch in loader:
        waited += time.perf_counter() - after
        one_step(bench, bench.step(variant, dict(batch), collated=True))
        after = time.perf_counter()
    return after - began, waited


def largest(bench: Bench, work: tuple[int, int, int], variant: str, deadline: float) -> dict[str, Any]:
    """The largest micro-batch by doubling: the last that ran. `ended_by`: what the next one met."""
    import torch

    found, pairs, ended = 0, 1, "end of the search"
    while pairs <= bench.protocol.most:
        if time.monotonic() > deadline:
            ended = "no time left"
            break
        free(bench)
        try:
            one_step(bench, bench.step(variant, bench.batch(work, pairs)))
        except torch.cuda.OutOfMemoryError:
            ended = "out of memory"
            break
        found, pairs = pairs, 2 * pairs
    return {"variant": variant, "visual": work[0] * work[1], "response": work[2], "pairs": found, "ended_by": ended}
