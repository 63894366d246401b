# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One DPO step of LlamaFactory's trainer and of ours on a small random Qwen2-VL: time, FLOPs, memory, difference.

    python scripts/benchmark_dpo_step.py --ratio 2b --mode lora --json rows.json
    python scripts/benchmark_dpo_step.py --batch 4             # uneven pairs: what their padding costs
    python scripts/benchmark_dpo_step.py --answers 4           # six pairs of a prompt: together, and in turn
    python scripts/benchmark_dpo_step.py --data                # no step: JPEG pairs through both collators

The model is small, but its parts cost relative to each other what those of a 2B or a 7B model cost: output head to
language model, vision tower to language model a visual token, prompt to response. One thread, process time, the
variants in turn. A row without a small `dloss` and `dgrad_rel` would mean nothing; the script fails if either is above
1e-5. A call takes less than a minute on two idle cores. LlamaFactory's step, `auto` and the cached reference are first
and are repeated while there is time; rows between them are weighed while there is, and on a slow machine left out, and
named. What this does not show is in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import answers
from benchmarks.resident import in_a_fork, reset_peak, resident, return_memory_at_once
from benchmarks.small_step import (
    SHAPES,
    build,
    decided,
    floor_flops,
    make_batch,
    make_pairs,
    make_trainers,
    our_step,
)

LIMIT = 1e-5
# Seconds after which no row between the first and `auto` is weighed, none is begun, and no step is repeated.
WEIGHED, LADDER, WALL = 26.0, 35.0, 52.0
LLAMAFACTORY, AUTO, CACHED = FIRST = "llamafactory", "auto", "cached reference"


@dataclass
class Row:
    """One variant.

    Attributes:
        seconds: process time of forward and backward, the best of its steps; the first one counts FLOPs, too.
        gflops: by torch's counter, which leaves attention itself out on a CPU.
        peak_mb: memory above the resting process, the gradients of what trains among it; None where the system does
            not say. They are there when the step begins, as in gradient accumulation.
        activation_mb: the same without these gradients, which every variant holds.
        over_floor: FLOPs over those of `floor_flops` with the same gradient checkpointing.
        dloss, dgrad_rel: difference from LlamaFactory's loss, and from its gradient relative to that one's norm.
    """

    variant: str
    seconds: float
    gflops: float
    peak_mb: float | None
    activation_mb: float | None
    over_floor: float
    dloss: float
    dgrad_rel: float


class Bench:
    """Steps of several variants on one batch, all compared with the first variant's loss and gradient.

    `floors`: FLOPs of the floor, by variant. `first`: variants that are never left out.
    """

    def __init__(self, model: Any, steps: dict[str, Any], floors: dict[str, float], first: tuple[str, ...]) -> None:
        self.steps, self.floors, self.first = steps, floors, first
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.order = [*first, *(name for name in steps if name not in first)]
        self.rows: dict[str, Row] = {}
        self.loss: float | None = None
        self.gradients: list[Any] = []

    def count(self, variant: str) -> None:
        """A first step, which warms up: its FLOPs, loss and gradient."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            seconds, loss = self._step(variant)
        gradients = [p.grad for p in self.parameters]
        if self.loss is None:
            self.loss, self.gradients = loss, gradients
        squares = [(float((a - b).double().square().sum())) for a, b in zip(gradients, self.gradients, strict=True)]
        norm = sum(float(g.double().square().sum()) for g in self.gradients) ** 0.5
        flops = counter.get_total_flops()
        self.rows[variant] = Row(
            variant,
            seconds=seconds,
            gflops=flops / 1e9,
            peak_mb=None,
            activation_mb=None,
            over_floor=flops / self.floors[variant],
            dloss=abs(loss - self.loss),
            dgrad_rel=sum(squares) ** 0.5 / norm,
        )

    def weigh(self, until: float) -> dict[str, float]:
        """MB of activations by variant. Gradients are there when a step begins, and not counted."""
        import torch

        self.steps[AUTO]().backward()  # code that a copy of a process has not called is not resident
        found: dict[str, float] = {}
        for variant in self.in_time(until):
            for parameter in self.parameters:
                parameter.grad = torch.full_like(parameter, 0.0)  # written to, so that it is resident
            resting = reset_peak()
            self.steps[variant]().backward()
            if resting is not None:
                found[variant] = resident("VmHWM") - resting
        return found

    def time(self, variant: str) -> None:
        self.rows[variant].seconds = min(self.rows[variant].seconds, self._step(variant)[0])

    def _step(self, variant: str) -> tuple[float, float]:
        for parameter in self.parameters:
            parameter.grad = None
        start = time.process_time()
        loss = self.steps[variant]()
        loss.backward()
        return time.process_time() - start, loss.item()

    def in_time(self, until: float) -> Iterator[str]:
        """`first`, and of the others those that can begin before `until`."""
        return (variant for variant in self.order if variant in self.first or time.time() < until)

    def run(self, repetitions: int, started: float) -> list[Row]:
        """All rows. Memory is weighed in a child process meanwhile; what is timed for good is timed after that."""
        weighing = in_a_fork(lambda: self.weigh(started + WEIGHED))
        return_memory_at_once(False)
        for variant in self.in_time(started + LADDER):
            self.count(variant)
        gradients = sum(p.numel() * p.element_size() for p in self.parameters) / 2**20
        for variant, activations in weighing().items():
            if variant in self.rows:
                self.rows[variant].activation_mb, self.rows[variant].peak_mb = activations, activations + gradients
        for again in range(repetitions):
            for variant in self.first if again else self.rows:
                if time.time() + 1.5 * self.rows[variant].seconds < started + WALL:
                    self.time(variant)
        return [self.rows[variant] for variant in self.steps if variant in self.rows]


def make_steps(model: Any, reference: Any, batches: tuple[Any, Any], folder: str) -> dict[str, Callable[[], Any]]:
    """Functions that do a forward and give the loss, by variant. `batches`: of the steps, and a small one.

    On the small one `auto` decides which speed-ups it uses.
    """
    from resonance.forward.names import SPEEDUPS
    from resonance.training.reference import REFERENCE_FIELDS

    batch, small = batches
    theirs, ours = make_trainers(model, reference, folder)
    auto = decided(ours, model, small)
    steps = {LLAMAFACTORY: lambda: theirs.get_batch_loss_metrics(model, dict(batch))[0]}
    names = [name for name in reversed(SPEEDUPS) if len(batch["labels"]) > 2 or name != "padding_free"]
    if auto.issuperset(names):
        names.pop()  # that rung would be `auto` itself
    for end, name in enumerate(names, 1):
        steps[f"+ {name}" if end > 1 else name] = our_step(ours, model, batch, names[:end])
    cached = dict(zip(REFERENCE_FIELDS, theirs.compute_reference_log_probs(model, dict(batch)), strict=True))
    return steps | {AUTO: our_step(ours, model, batch, auto), CACHED: our_step(ours, model, batch, auto, cached)}


def measure(args: argparse.Namespace, started: float) -> list[Row]:
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch

    torch.set_num_threads(1)
    return_memory_at_once(True)
    model, reference = build(SHAPES[args.ratio], args.mode)
    vocabulary = SHAPES[args.ratio]["vocabulary"]
    first: tuple[str, ...] = FIRST
    with tempfile.TemporaryDirectory() as folder:
        if args.answers:
            pairs = [answers.floor_pair(args.answers)]
            steps = answers.make_steps(model, reference, vocabulary, args.answers, folder)
            first = tuple(steps)
        else:
            pairs = make_pairs(args.batch)
            batch, small = (make_batch(model, vocabulary, p) for p in (pairs, make_pairs(args.batch, 1 / 16)))
            steps = make_steps(model, reference, (batch, small), folder)
    floors = {name: floor_flops(args.ratio, args.mode, pairs, reference=name != CACHED) for name in steps}
    rows = Bench(model, steps, floors, first).run(args.repetitions, started)
    if missing := sorted(set(steps) - {row.variant for row in rows}):
        print(f"left out for want of time: {', '.join(missing)}")
    return rows


def show(rows: list[Row]) -> None:
    first = rows[0]
    width = max(len(row.variant) for row in rows)
    for row in rows:
        line = (
            f"{row.variant:{width}s} {row.seconds:6.2f} s {first.seconds / row.seconds:5.2f}x {row.gflops:7.1f} GFLOP"
        )
        line += f" {first.gflops / row.gflops:5.2f}x {row.over_floor:5.2f} of the floor"
        if row.activation_mb is not None and first.activation_mb is not None:
            less = first.activation_mb / row.activation_mb
            line += f" {row.peak_mb:6.0f} MB, {row.activation_mb:4.0f} of activations ({less:4.1f}x less)"
        print(f"{line}  dloss {row.dloss:.0e}  dgrad {row.dgrad_rel:.0e}")


def main() -> int:
    started = time.time()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ratio", choices=sorted(SHAPES), default="2b", help="cost of the parts to each other, as in")
    parser.add_argument("--mode", choices=("lora", "full"), default="lora")
    parser.add_argument("--batch", type=int, default=1, help="uneven pairs a micro-batch, as long as one pair in all")
    parser.add_argument("--answers", type=int, default=0, help="all pairs of so many answers to one prompt instead")
    parser.add_argument("--data", action="store_true", help="the collators instead of the step")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--repetitions", type=int, default=2)
    args = parser.parse_args()
    if args.batch < 1 or (args.answers and (args.answers < 2 or args.batch > 1)):
        parser.error("allowed: --batch from 1, or --answers from 2 alone")
    if args.data:
        from benchmarks.collators import compare

        compared, wrong = compare()
        written = [asdict(row) for row in compared]
    else:
        rows = measure(args, started)
        written = [asdict(row) for row in rows]
        many = f"all pairs of {args.answers} answers" if args.answers else f"pairs: {args.batch}"
        print(f"{args.ratio} ratio, {args.mode}, {many}; {time.time() - started:.0f} s in all")
        show(rows)
        wrong = [row.variant for row in rows if not (row.dloss <= LIMIT and row.dgrad_rel <= LIMIT)]
    if args.json:
        args.json.write_text(json.dumps(written, indent=1) + "\n")
    if wrong:
        print(f"benchmark_dpo_step: not what LlamaFactory computes: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
    sys.exit(main())
