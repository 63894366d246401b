# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a DPO step asks of the host, LlamaFactory's beside ours: milliseconds, kernels, waits for the device.

    python scripts/benchmark_host.py                            # Qwen2-VL-2B's depth, LoRA, 1, 4 and 16 pairs
    python scripts/benchmark_host.py --pairs 4 --layers 4 --blocks 4 --places

The model is as deep as Qwen2-VL-2B and 32 wide, so what is left of a step is Python, dispatch and tiny kernels: what a
host has to do before a GPU can be busy. A step is forward and backward of one micro-batch through the trainers'
own `get_batch_loss_metrics`; collator and optimizer are left out.

    host ms  process time of a step on one thread, the least of several, variants in turn. It holds the tiny kernels,
             so it is a bound from above.
    kernels  aten operations without views and allocations, through recompute and backward. How many kernels one of
             them is on a GPU is not known here.
    pairs.jsonl  what `record_pairs` adds to a step: a tensor that is kept, and lines that are written every ten steps.
    waits    calls that make a GPU's queue drain: values that are read, sizes from values, pageable copies. Tensors are
             followed as if the batch were on a device. Ours: from lines of this package.

Kernels and waits are the same on every machine, milliseconds are not: compare variants of one call. A call takes one
to three minutes on a quiet core; fewer `--layers` and `--blocks` take less, and kernels grow linearly with both.
Nothing here runs on a GPU. The script fails if losses or gradients differ from LlamaFactory's by more than 1e-5.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 1e-5
LLAMAFACTORY, AUTO, CACHED = "llamafactory", "auto", "cached reference"
SIDE, TEXT, ANSWERS = 8, 12, ((16, 10), (9, 14), (12, 6), (7, 18))  # patches of a picture, tokens of a pair


@dataclass
class Row:
    """One variant at one number of pairs. `places`: waits by file and line. `difference`: of loss, and of gradient."""

    variant: str
    pairs: int
    host_ms: float
    kernels: int
    waits: int
    difference: tuple[float, float]
    places: dict[str, int] = field(default_factory=dict)

    @property
    def own_waits(self) -> int:
        return sum(count for place, count in self.places.items() if place.startswith("resonance/"))


def shape_of(layers: int, blocks: int) -> dict[str, int]:
    """Of a model so narrow that its arithmetic takes no time."""
    return dict(hidden=32, layers=layers, heads=4, mlp=64, vocabulary=256, tower=32, blocks=blocks)


def pairs_of(count: int) -> list[Any]:
    """Pairs whose prompts and answers have different lengths."""
    from benchmarks.small_step import Pair

    return [Pair((SIDE, SIDE + 2 * (i % 2)), TEXT + i % 5, *ANSWERS[i % len(ANSWERS)]) for i in range(count)]


def make_steps(trainers: tuple[Any, Any], model: Any, batch: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Functions that do a forward and give the loss. `auto` has decided on this batch before."""
    from resonance.training.reference import REFERENCE_FIELDS

    theirs, ours = trainers
    ours.engine.forward = None
    ours.engine.reference = live = ours.engine.policy if ours.ref_model is None else ours.ref_model
    ours.engine.prepare(model, batch)
    cached = dict(zip(REFERENCE_FIELDS, theirs.compute_reference_log_probs(model, dict(batch)), strict=True))

    def our_step(on_disk: bool) -> Callable[[], Any]:
        def run() -> Any:
            ours.engine.reference = None if on_disk else live
            return ours.get_batch_loss_metrics(model, batch | (cached if on_disk else {}))[0]

        return run

    def their_step() -> Any:
        return theirs.get_batch_loss_metrics(model, dict(batch))[0]

    return {LLAMAFACTORY: their_step, AUTO: our_step(False), CACHED: our_step(True)}


def measure(model: Any, steps: dict[str, Callable[[], Any]], pairs: int, repetitions: int) -> list[Row]:
    """A row a variant. Everything is counted before anything is timed, which also warms up."""
    from benchmarks.counting import Kernels, Waits, counted

    parameters = [p for p in model.parameters() if p.requires_grad]

    def timed(step: Callable[[], Any]) -> tuple[float, float]:
        for parameter in parameters:
            parameter.grad = None
        start = time.process_time()
        loss = step()
        loss.backward()
        return time.process_time() - start, loss.item()

    rows, expected = [], None
    for name, step in steps.items():
        _, loss = timed(step)
        gradients = [p.grad.double() for p in parameters]
        expected = expected or (loss, gradients)
        off = sum(float((a - b).square().sum()) for a, b in zip(gradients, expected[1], strict=True)) ** 0.5
        norm = sum(float(g.square().sum()) for g in expected[1]) ** 0.5
        kernels, waits = counted(Kernels(), step), counted(Waits(), step)
        places = dict(waits.places.most_common())
        difference = abs(loss - expected[0]), off / norm
        rows.append(Row(name, pairs, float("inf"), kernels.total, waits.total, difference, places))
    for _ in range(repetitions):
        for row in rows:
            row.host_ms = min(row.host_ms, 1e3 * timed(steps[row.variant])[0])
    return rows


def recording_ms(trainer: Any, model: Any, batch: dict[str, Any], pairs: int, steps: int = 10) -> float:
    """Host milliseconds a step of what pairs.jsonl asks for, written every `steps` steps; the least of several."""
    from resonance.training.pair_log import PairLog

    recorded = trainer.loss_of(model, batch, "train").pairs
    row = {"_source": "data/pairs.json", "score_chosen": 4.0, "score_rejected": 1.0}
    rows = [{**row, "_row": number} for number in range(pairs)]
    least = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        log = PairLog(folder, str, writes=True)
        for _ in range(20):
            start = time.process_time()
            for step in range(steps):
                log.add(step, "train", rows, recorded)
            log.flush()
            least = min(least, 1e3 * (time.process_time() - start) / steps)
    return least


def run(args: argparse.Namespace) -> list[Row]:
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch
    from benchmarks.counting import DEVICE
    from benchmarks.small_step import build, make_batch, make_trainers

    torch.set_num_threads(1)
    shape = shape_of(args.layers, args.blocks)
    model, reference = build(shape, args.mode)
    with tempfile.TemporaryDirectory() as folder:
        trainers = make_trainers(model, reference, folder)
    trainers[0].accelerator.state.device = DEVICE  # as that of the batch; both trainers share the state
    rows = []
    for pairs in args.pairs:
        batch = make_batch(model, shape["vocabulary"], pairs_of(pairs))
        steps = make_steps(trainers, model, batch)
        found = measure(model, steps, pairs, args.repetitions)
        show(found, args.places)
        steps[AUTO]()  # the last one measured has left our trainer without a reference
        recording = recording_ms(trainers[1], model, batch, pairs)
        share = recording / next(row.host_ms for row in found if row.variant == AUTO)
        print(f"{pairs:3d} pairs  pairs.jsonl      {recording:7.3f} ms, {share:.2%} of {AUTO}", flush=True)
        rows += found
    return rows


def show(rows: list[Row], places: bool) -> None:
    first = rows[0]
    for row in rows:
        loss, gradient = row.difference
        print(
            f"{row.pairs:3d} pairs  {row.variant:17s}{row.host_ms:7.1f} ms {first.host_ms / row.host_ms:5.2f}x "
            f"{row.kernels:6d} kernels {row.waits:4d} waits, ours {row.own_waits:3d}  dloss {loss:.0e} dgrad "
            f"{gradient:.0e}",
            flush=True,
        )
        for place, count in row.places.items() if places else ():
            print(f"          {count:4d} {place}")


def numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise ValueError
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=numbers, default=[1, 4, 16], help="micro-batches, such as 1,4,16")
    parser.add_argument("--mode", choices=("lora", "full"), default="lora")
    parser.add_argument("--layers", type=int, default=28, help="of the language model")
    parser.add_argument("--blocks", type=int, default=32, help="of the vision tower")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--places", action="store_true", help="list the lines that wait")
    parser.add_argument("--json", type=Path, help="write the rows here")
    args = parser.parse_args()
    started = time.time()
    rows = run(args)
    print(f"{args.mode}, {args.layers} layers, {args.blocks} blocks; {time.time() - started:.0f} s in all")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if wrong := [f"{row.variant} at {row.pairs} pairs" for row in rows if not max(row.difference) <= LIMIT]:
        print(f"benchmark_host: not what LlamaFactory computes: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
    sys.exit(main())
