# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DPO steps of LlamaFactory and of Resonance at the real size of Qwen2-VL-2B, with random weights, on one GPU.

    python scripts/benchmark_gpu.py --json gpu.json          # under 8 minutes on an H200, no downloads
    python scripts/benchmark_gpu.py --shrink --json cpu.json  # the same protocol on a CPU in a minute, a tiny model

Cells are workload x micro-batch x variant. A cell that runs out of memory is a result and is recorded as one; a cell
for which no time was left is recorded, too. A micro-batch of several pairs is uneven, as real ones are. Beside the
time of each cell stand the FLOPs and the peak memory that `resonance estimate` gives for it, so that a run on a GPU
checks the estimate. The optimizer step is not timed.

Before the cells, `parity` compares loss and gradient of both trainers in float32, and in bfloat16 the error of each
against the float32 run: batching sums in another order, so that bfloat16 results differ by rounding in any case.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_step import (
    ALL,
    LLAMAFACTORY,
    REAL,
    SEVEN,
    SHRUNKEN,
    VARIANTS,
    Bench,
    Protocol,
    make_batch,
    variants,
)

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "H800": 989e12, "A100": 312e12, "A800": 312e12}  # dense bfloat16


@dataclass
class Cell:
    """One cell. `outcome`: ok, out of memory, or no time left. Bytes and FLOPs of `estimate_*` are arithmetic."""

    model: str
    mode: str
    visual: int
    response: int
    batch: int
    variant: str
    outcome: str
    ms: float | None = None
    host_ms: float | None = None  # until the last kernel was launched
    pairs_per_second: float | None = None
    peak_gib: float | None = None
    kernels: int | None = None
    estimate_tflop: float | None = None
    estimate_peak_gib: float | None = None
    flops_of_peak: float | None = None  # estimated FLOPs over time, as a share of the GPU's dense bfloat16


def run_cell(bench: Bench, work: tuple[int, int, int], pairs: int, variant: str, profile: bool = False) -> Cell:
    """Times one cell; running out of memory is an outcome."""
    import torch

    free(bench)  # here and not after an error: while that is handled, its traceback holds on to tensors
    cell = Cell(bench.protocol.name, bench.mode, work[0] * work[1], work[2], pairs, variant, "ok")
    flops, peak = bench.estimate(work, pairs, variant)
    cell.estimate_tflop, cell.estimate_peak_gib = flops / 1e12, peak / 2**30
    cuda = bench.device == "cuda"
    try:
        with bench.set_up_for(variant):
            batch = make_batch(bench.base, work, pairs, bench.device)
            step = bench.step(variant, batch)
            timed = [one_step(bench, step) for _ in range(bench.protocol.warm_up + bench.protocol.steps)]
            if profile and cuda:
                cell.kernels = count_kernels(lambda: one_step(bench, step))
    except torch.cuda.OutOfMemoryError:
        cell.outcome = "out of memory"
        return cell
    times = timed[bench.protocol.warm_up :]
    cell.ms, cell.host_ms = (statistics.median(values) for values in zip(*[t[:2] for t in times], strict=True))
    cell.pairs_per_second = 1000 * pairs / cell.ms
    if cuda:
        cell.peak_gib = max(t[2] for t in times) / 2**30
        peak_flops = next((f for name, f in PEAK_FLOPS.items() if name in torch.cuda.get_device_name()), None)
        cell.flops_of_peak = flops / (cell.ms / 1000) / peak_flops if peak_flops else None
    return cell


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


def cells(bench: Bench, deadline: float, only: int | None = None) -> Iterator[Cell]:
    """Every cell of one way of training: both ends of the ladder for all sizes first, then what lies between.

    `only`: that many variants, from the first.
    """
    for part in (slice(0, 2), slice(2, only) if only is None or only > 2 else None):
        for work in bench.protocol.workloads if part else ():
            for pairs in bench.protocol.batches:
                for variant in variants(bench.mode, pairs)[part]:
                    if time.monotonic() > deadline:
                        size = work[0] * work[1], work[2], pairs
                        yield Cell(bench.protocol.name, bench.mode, *size, variant, "no time left")
                    else:
                        yield run_cell(bench, work, pairs, variant, profile=pairs == 1)


def data_cells(bench: Bench, deadline: float) -> Iterator[dict[str, Any]]:
    """JPEG pairs from disk through each collator into the step of its trainer: pairs a second, and how long it waits.

    `waiting_share`: of the time, in which the step has no batch.
    """
    from benchmarks.collators import SIZES, make_collators, make_rows
    from torch.utils.data import DataLoader

    shrunken, pairs = bench.protocol is SHRUNKEN, bench.protocol.jpegs
    size = SIZES[0] if shrunken else SIZES[1]
    with tempfile.TemporaryDirectory() as folder:
        rows, collators = make_rows(Path(folder), pairs, size), make_collators(bench.base)
        for workers in (0, 1) if shrunken else (0, 4, 8):
            for name, variant in (("llamafactory", LLAMAFACTORY), ("resonance", ALL)):
                found: dict[str, Any] = {"variant": name, "workers": workers, "outcome": "no time left"}
                if time.monotonic() <= deadline:
                    free(bench)
                    with bench.tokens_of(collators[name].tokenizer):
                        loader = DataLoader(copy.deepcopy(rows), 2, collate_fn=collators[name], num_workers=workers)
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
        one_step(bench, bench.step(variant, {key: value.to(bench.device) for key, value in batch.items()}))
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
            batch = make_batch(bench.base, work, pairs, bench.device)
            one_step(bench, bench.step(variant, batch))
        except torch.cuda.OutOfMemoryError:
            ended = "out of memory"
            break
        found, pairs = pairs, 2 * pairs
    return {"variant": variant, "visual": work[0] * work[1], "response": work[2], "pairs": found, "ended_by": ended}


def parity(protocol: Protocol, device: str) -> dict[str, float]:
    """Loss and gradient in float32, ours against LlamaFactory's; in bfloat16, each against LlamaFactory's float32."""
    import torch

    exact: dict[str, Any] = {}
    results: dict[str, float] = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    for half in (False, True):
        bench = Bench(protocol, "lora", device, half)
        batch = make_batch(bench.base, protocol.workloads[0], 1, device)
        for name, variant in (("llamafactory", "llamafactory"), ("ours", ALL)):
            bench.model.zero_grad(set_to_none=True)
            loss = bench.step(variant, batch)()
            loss.backward()
            gradients = {n: p.grad.float() for n, p in bench.model.named_parameters() if p.grad is not None}
            if not exact:
                exact = {"loss": loss.item(), "gradients": gradients}
                continue
            squares = [(gradients[n] - g).square().sum() for n, g in exact["gradients"].items()]
            norm = torch.stack([g.square().sum() for g in exact["gradients"].values()]).sum().sqrt()
            kind = "bfloat16" if half else "float32"
            results[f"{kind} {name} dloss"] = abs(loss.item() - exact["loss"])
            results[f"{kind} {name} dgrad_rel"] = float(torch.stack(squares).sum().sqrt() / norm)
        del bench
        gc.collect()
    return results


def show(cell: Cell) -> None:
    names = cell.variant.replace(ALL, "all")
    label = f"{cell.model} {cell.mode} {cell.visual:5d}/{cell.response:<4d} B={cell.batch:<2d} {names:64s}"
    if cell.outcome != "ok":
        print(label, cell.outcome, flush=True)
        return
    memory = "" if cell.peak_gib is None else f"  peak {cell.peak_gib:.1f} GiB (estimate {cell.estimate_peak_gib:.1f})"
    times = f"{cell.ms:8.1f} ms (host {cell.host_ms:.1f}) {cell.pairs_per_second:7.2f} pairs/s"
    print(label, times + memory, flush=True)


def run(protocols: tuple[Protocol, ...], device: str, minutes: float) -> dict[str, Any]:
    """Everything, the first protocol in full; of the others LoRA at both ends of the ladder."""
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch

    started = time.monotonic()
    deadline = started + 60 * minutes
    name = (
        torch.cuda.get_device_name() if device == "cuda" else "CPU, shrunken: proves the protocol, says nothing else"
    )
    first = protocols[0]
    report: dict[str, Any] = {"device": name, "torch": torch.__version__, "parity": parity(first, device)}
    for key, value in report["parity"].items():
        print(f"parity {key}: {value:.1e}", flush=True)
    report |= {"cells": [], "largest": [], "data": []}
    until = {"lora": 0.6, "data": 0.72, "full": 0.9, "more": 1.0}  # of the time
    until = {part: started + 60 * minutes * share for part, share in until.items()}
    for mode in VARIANTS:
        with opened(first, mode, device) as bench:
            if mode == "lora":
                report["auto"] = bench.chosen(make_batch(bench.base, first.workloads[0], 1, device))
                print(f"pref_speedups: auto uses {', '.join(report['auto']) or 'nothing'}", flush=True)
            for cell in cells(bench, until[mode]):
                report["cells"].append(asdict(cell))
                show(cell)
            for variant in VARIANTS[mode][:2]:
                most = largest(bench, first.workloads[0], variant, deadline - 60 * minutes * 0.05)
                report["largest"].append({"mode": mode, **most})
                print(f"{mode} largest micro-batch, {variant}: {most['pairs']} ({most['ended_by']})", flush=True)
            if mode == "lora":
                for found in data_cells(bench, until["data"]):
                    report["data"].append(found)
                    print("data", *(f"{key} {value}" for key, value in found.items()), flush=True)
    for protocol in protocols[1:]:
        with opened(protocol, "lora", device) as bench:
            for cell in cells(bench, until["more"], only=2):
                report["cells"].append(asdict(cell))
                show(cell)
    return report | {"seconds": time.monotonic() - started}


@contextmanager
def opened(protocol: Protocol, mode: str, device: str) -> Iterator[Bench]:
    """A bench whose memory is free again afterwards."""
    import torch

    bench = Bench(protocol, mode, device)
    try:
        yield bench
    finally:
        del bench
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--shrink", action="store_true", help="a tiny model on the CPU, to see that the protocol runs")
    parser.add_argument("--minutes", type=float, default=7.5, help="no cell is begun after this time")
    args = parser.parse_args()
    import torch

    if not args.shrink and not torch.cuda.is_available():
        print("benchmark_gpu: no CUDA device here. Next: benchmark_gpu.py --shrink", file=sys.stderr)
        return 2
    if args.shrink:
        torch.set_num_threads(1)
    report = run(*(((SHRUNKEN,), "cpu") if args.shrink else ((REAL, SEVEN), "cuda")), args.minutes)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [name for name, value in report["parity"].items() if name.startswith("float32") and not value <= 1e-4]
    if wrong:
        print(f"benchmark_gpu: not LlamaFactory's loss or gradient in float32: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
