# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A DPO step of LlamaFactory and of ours over kinds of data: short and long, one picture and many, few pairs and many.

    python scripts/benchmark_regimes.py                 # FLOPs and launches; about two minutes
    python scripts/benchmark_regimes.py --time --only 1024

The numbers are LlamaFactory's over ours: more is better, and below 1 we lose. The model is a small random Qwen2-VL
with LoRA. FLOPs are those of matrix products and of attention, through recompute and backward; attention counts pairs
of tokens, half of them where a kernel is causal, all under a mask. Launches are aten operations without views. Seconds
are process time on one thread, the least of several steps, in turn. Losses and gradients of both are compared, and the
script fails if they differ by more than 2e-5 or if a regime has more FLOPs or launches than LlamaFactory's by 2 %.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.small_step import Pair, build, make_batch, make_trainers, our_step

LIMIT, MORE = 2e-5, 1.02
SHAPE = dict(hidden=192, layers=2, heads=6, mlp=768, vocabulary=2048, tower=64, blocks=2)
_SMALL = (4, 4)  # patches of a picture of four tokens
_PATCH = 14  # pixels a side


@dataclass(frozen=True)
class Regime:
    """A kind of batch. `quick`: counted in the tests as well."""

    name: str
    pairs: tuple[Pair, ...]
    vocabulary: int = SHAPE["vocabulary"]
    evaluation: bool = False
    quick: bool = True


@dataclass
class Row:
    """One regime. Pairs of numbers are LlamaFactory's and ours; `way`: how ours were laid out."""

    regime: str
    gflops: tuple[float, float]
    launches: tuple[int, int]
    way: str
    dloss: float
    dgrad_rel: float
    seconds: tuple[float, float] | None = None

    @property
    def wrong(self) -> str:
        """What is not as it should be, or nothing."""
        found = {"FLOPs": self.gflops, "launches": self.launches}
        more = [name for name, (theirs, ours) in found.items() if ours > MORE * theirs]
        differ = [] if max(self.dloss, self.dgrad_rel) <= LIMIT else ["another loss or gradient"]
        return ", ".join([*(f"more {name} than LlamaFactory" for name in more), *differ])


def texts(prompt: int, chosen: int, rejected: int | None = None, pictures: int = 0) -> Pair:
    """A pair by the tokens of its prompt, with small pictures or none."""
    inside = 4 + pictures * (_SMALL[0] * _SMALL[1] // 4 + 2)
    return Pair(_SMALL, prompt - inside, chosen, chosen if rejected is None else rejected, pictures)


def pictured(side: int, answer: int, pictures: int = 1) -> Pair:
    """A pair with pictures of `side` x `side` pixels."""
    return Pair((side // _PATCH, side // _PATCH), 40, answer, answer, pictures)


def uneven(count: int) -> tuple[Pair, ...]:
    """Pairs of four sizes, each with a picture of its own."""
    sizes = ((16, 64, 50), (10, 110, 32), (30, 24, 80), (12, 40, 40))
    return tuple(Pair((8, 8 + 2 * (i % 3)), *sizes[i % 4]) for i in range(count))


def regimes() -> Iterator[Regime]:
    """All of them."""
    for prompt, answer in ((24, 64), (24, 256), (24, 1024), (64, 512), (256, 256), (1000, 64), (1000, 1024)):
        yield Regime(f"prompt {prompt}, responses {answer}", (texts(prompt, answer, pictures=1),), quick=answer < 1024)
    yield Regime("prompt 24, responses 1024, quick", (texts(24, 1024, pictures=1),))
    yield Regime("prompt 24, responses 1024 and 16", (texts(24, 1024, 16, pictures=1),), quick=False)
    for prompt, answer in ((8, 16), (8, 256), (200, 64)):
        yield Regime(f"text only, prompt {prompt}, responses {answer}", (texts(prompt, answer),))
    for side in (224, 448, 1344):
        yield Regime(f"picture of {side} px, responses 64", (pictured(side, 64),), quick=side < 1344)
    yield Regime("6 pictures of 224 px, responses 64", (pictured(224, 64, 6),))
    for vocabulary in (32_000, 152_000):
        yield Regime(f"vocabulary {vocabulary}", (texts(64, 64, pictures=1),), vocabulary, quick=vocabulary < 100_000)
    for count in (2, 4, 16):
        yield Regime(f"{count} uneven pairs", uneven(count))
    yield Regime(
        "4 pairs, prompt 24, responses near 1024", tuple(texts(24, 1000 + 6 * i) for i in range(4)), quick=False
    )
    yield Regime("16 equal pairs", tuple(texts(64, 48, pictures=1) for _ in range(16)))
    for answer in (64, 256):
        yield Regime(f"evaluation, picture of 224 px, responses {answer}", (pictured(224, answer),), evaluation=True)


class Bench:
    """A model of one vocabulary and both trainers."""

    def __init__(self, vocabulary: int, folder: str) -> None:
        self.shape = SHAPE | {"vocabulary": vocabulary}
        self.model, reference = build(self.shape, "lora")
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.theirs, self.ours = make_trainers(self.model, reference, folder)

    def measure(self, regime: Regime, repetitions: int) -> Row:
        """Count both on a batch, compare them, and time them if there are repetitions."""
        import torch
        from benchmarks.attention import StepFlops
        from benchmarks.counting import Kernels

        from resonance.forward.names import SPEEDUPS

        batch = make_batch(self.model, self.shape["vocabulary"], list(regime.pairs))
        steps: Sequence[Callable[[], Any]] = (
            lambda: self.theirs.get_batch_loss_metrics(self.model, dict(batch))[0],
            our_step(self.ours, self.model, batch, SPEEDUPS),
        )
        gflops, launches, losses, gradients = [], [], [], []
        for step in steps:
            with StepFlops() as flops, Kernels() as kernels:
                losses.append(self._run(step, regime.evaluation))
            gflops.append(flops.total / 1e9)
            launches.append(kernels.total)
            found = [p.grad.flatten() for p in self.parameters if p.grad is not None]
            gradients.append(torch.cat(found) if found else torch.ones(1))
        took = [[self._time(step, regime.evaluation) for _ in range(repetitions)] for step in steps]
        prepared = self.ours.engine.forward.prepare(batch, self.model, self.model)
        return Row(
            regime.name,
            (gflops[0], gflops[1]),
            (launches[0], launches[1]),
            prepared.way,
            abs(losses[0] - losses[1]),
            float((gradients[1] - gradients[0]).norm() / gradients[0].norm()),
            (min(took[0]), min(took[1])) if repetitions else None,
        )

    def _run(self, step: Callable[[], Any], evaluation: bool) -> float:
        import torch

        self.model.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(not evaluation):
            loss = step()
        if not evaluation:
            loss.backward()
        return float(loss)

    def _time(self, step: Callable[[], Any], evaluation: bool) -> float:
        began = time.process_time()
        self._run(step, evaluation)
        return time.process_time() - began


def run(chosen: Sequence[Regime], repetitions: int = 0) -> Iterator[Row]:
    """The rows, vocabulary by vocabulary."""
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch

    torch.set_num_threads(1)
    for vocabulary in dict.fromkeys(regime.vocabulary for regime in chosen):
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(vocabulary, folder)
        for regime in chosen:
            if regime.vocabulary == vocabulary:
                yield bench.measure(regime, repetitions)


def show(row: Row) -> str:
    flops, launches = row.gflops[0] / row.gflops[1], row.launches[0] / row.launches[1]
    line = (
        f"{row.regime:44s} FLOPs {flops:5.2f}x  launches {row.launches[0]:5d} / {row.launches[1]:5d} {launches:5.2f}x"
    )
    if row.seconds:
        line += f"  {row.seconds[0]:6.2f} s {row.seconds[0] / row.seconds[1]:5.2f}x"
    return f"{line}  dloss {row.dloss:.0e} dgrad {row.dgrad_rel:.0e}  {row.way}{'  ' + row.wrong if row.wrong else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--time", action="store_true", help="and seconds")
    parser.add_argument("--repetitions", type=int, default=3, help="steps of each that are timed")
    parser.add_argument("--only", default="", help="regimes whose names hold this")
    parser.add_argument("--quick", action="store_true", help="those that the tests count")
    parser.add_argument("--json", type=Path, help="write the rows here")
    args = parser.parse_args()
    chosen = [r for r in regimes() if args.only in r.name and (r.quick or not args.quick)]
    rows = []
    for row in run(chosen, args.repetitions if args.time else 0):
        rows.append(row)
        print(show(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
    sys.exit(main())
