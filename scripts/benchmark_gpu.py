# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DPO steps of LlamaFactory and of Resonance at the real size of Qwen2-VL-2B, with random weights, on one GPU.

    python scripts/benchmark_gpu.py --json gpu.json          # 4 minutes on an H100, no downloads
    python scripts/benchmark_gpu.py --all --minutes 8         # and the rungs between, the largest micro-batch, JPEGs
    python scripts/benchmark_gpu.py --shrink --json cpu.json  # the same protocol on a CPU in a minute, a tiny model

Cells are workload x micro-batch x variant, what matters most first: 2B with LoRA, 2B in full, 7B with LoRA. A cell
that runs out of memory is a result and is recorded as one; a cell for which no time was left is recorded, too. A
micro-batch of several pairs is uneven, as real ones are. Ours come laid out, as from our collator. Beside the time of
each cell stand the FLOPs and the peak memory that `resonance estimate` gives for it, so that a run on a GPU checks the
estimate. The optimizer step is not timed.

Before the cells, `parity` compares loss and gradient of both trainers in float32, and in bfloat16 the error of each
against the float32 run: batching sums in another order, so that bfloat16 results differ by rounding in any case.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_estimate import estimate
from benchmarks.gpu_more import count_kernels, data_cells, free, largest, one_step
from benchmarks.gpu_step import AUTO, LLAMAFACTORY, MORE, REAL, SEVEN, SHRUNKEN, VARIANTS, Bench, Protocol

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
    flops, peak = estimate(bench, work, pairs, variant)
    cell.estimate_tflop, cell.estimate_peak_gib = flops / 1e12, peak / 2**30
    cuda = bench.device == "cuda"
    try:
        with bench.set_up_for(variant):
            step = bench.step(variant, bench.batch(work, pairs))
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


def cells(bench: Bench, deadline: float, variants: Sequence[str], works: Sequence[Any]) -> Iterator[Cell]:
    """Every cell of one way of training, workload by workload and from small micro-batches to large ones."""
    for work in works:
        for pairs in bench.protocol.batches:
            for variant in variants:
                if time.monotonic() > deadline:
                    size = work[0] * work[1], work[2], pairs
                    yield Cell(bench.protocol.name, bench.mode, *size, variant, "no time left")
                else:
                    yield run_cell(bench, work, pairs, variant, profile=variant in (LLAMAFACTORY, AUTO))


def parity(protocol: Protocol, device: str) -> dict[str, float]:
    """Loss and gradient in float32, ours against LlamaFactory's; in bfloat16, each against LlamaFactory's float32."""
    import torch

    exact: dict[str, Any] = {}
    results: dict[str, float] = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    for half in (False, True):
        with opened(protocol, "lora", device, half) as bench:
            batch = bench.batch(protocol.workloads[0], 2)
            for name, variant in (("llamafactory", LLAMAFACTORY), ("ours", AUTO)):
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
    return results


def show(cell: Cell) -> None:
    label = f"{cell.model} {cell.mode} {cell.visual:5d}/{cell.response:<4d} B={cell.batch:<2d} {cell.variant:46s}"
    if cell.outcome != "ok":
        print(label, cell.outcome, flush=True)
        return
    memory = "" if cell.peak_gib is None else f"  peak {cell.peak_gib:.1f} GiB (estimate {cell.estimate_peak_gib:.1f})"
    times = f"{cell.ms:8.1f} ms (host {cell.host_ms:.1f}) {cell.pairs_per_second:7.2f} pairs/s"
    print(label, times + memory + (f"  {cell.kernels} kernels" if cell.kernels else ""), flush=True)


def run(protocols: tuple[Protocol, ...], device: str, minutes: float, everything: bool) -> dict[str, Any]:
    """The cells of all protocols, of the first in both ways of training; with `everything` what else there is."""
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch

    started = time.monotonic()
    deadline = started + 60 * minutes
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU: proves the protocol, says nothing else"
    first = protocols[0]
    report: dict[str, Any] = {"device": name, "torch": torch.__version__, "parity": parity(first, device)}
    for key, value in report["parity"].items():
        print(f"parity {key}: {value:.1e}", flush=True)
    report |= {"cells": [], "largest": [], "data": []}

    def record(found: Iterator[Cell]) -> None:
        for cell in found:
            report["cells"].append(asdict(cell))
            show(cell)

    for protocol, mode in [(first, "lora"), (first, "full"), *((p, "lora") for p in protocols[1:])]:
        with opened(protocol, mode, device) as bench:
            if not report.get("auto"):
                report["auto"] = bench.chosen(protocol.workloads[0])
                print(f"pref_speedups: auto uses {', '.join(report['auto']) or 'nothing'}", flush=True)
            record(cells(bench, deadline, VARIANTS[mode], protocol.workloads[:1]))
    if not everything:
        return report | {"seconds": time.monotonic() - started}
    for mode in VARIANTS:
        with opened(first, mode, device) as bench:
            record(cells(bench, deadline, VARIANTS[mode], first.workloads[1:]))
            if mode == "lora":
                record(cells(bench, deadline, MORE, first.workloads))
                report["data"] = list(data_cells(bench, deadline))
            report["largest"] += [
                {"mode": mode, **largest(bench, first.workloads[0], variant, deadline)}
                for variant in VARIANTS[mode][:2]
            ]
    for found in report["data"] + report["largest"]:
        print(*(f"{key} {value}" for key, value in found.items()), flush=True)
    return report | {"seconds": time.monotonic() - started}


@contextmanager
def opened(protocol: Protocol, mode: str, device: str, half: bool = True) -> Iterator[Bench]:
    """A bench whose memory is free again afterwards."""
    import torch

    bench = Bench(protocol, mode, device, half)
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
    parser.add_argument("--all", action="store_true", help="and what is named above")
    parser.add_argument("--shrink", action="store_true", help="a tiny model on the CPU, to see that the protocol runs")
    parser.add_argument("--minutes", type=float, default=3.8, help="no cell is begun after this time")
    args = parser.parse_args()
    import torch

    if not args.shrink and not torch.cuda.is_available():
        print("benchmark_gpu: no CUDA device here. Next: benchmark_gpu.py --shrink", file=sys.stderr)
        return 2
    if args.shrink:
        torch.set_num_threads(1)
    protocols, device = ((SHRUNKEN,), "cpu") if args.shrink else ((REAL, SEVEN), "cuda")
    report = run(protocols, device, args.minutes, args.all)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [name for name, value in report["parity"].items() if name.startswith("float32") and not value <= 1e-4]
    if wrong:
        print(f"benchmark_gpu: not LlamaFactory's loss or gradient in float32: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("LLAMAFACTORY_VERBOSITY", "WARN")  # a cell is a line
    sys.exit(main())
