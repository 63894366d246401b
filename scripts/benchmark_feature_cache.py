# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DPO with and without `image_feature_cache` on a small Qwen2-VL, by epoch: time, calls of the tower, difference.

    python scripts/benchmark_feature_cache.py --ratio 2b --json rows.json

The model is that of benchmark_dpo_step.py: small, its parts as costly relative to each other as those of a 2B or a 7B
model. LoRA, all speed-ups on, one pair a step with a picture of its own, one thread, process time, the variants in
turn step by step. The reference is live, or with `--cached-reference` its log-probabilities are given, as from disk.
The script fails unless losses and gradients are equal bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PICTURES, EPOCHS = 4, 3


@dataclass
class Row:
    """An epoch of a variant. Process seconds a step: the median. `difference`: the largest in loss and gradients."""

    variant: str
    epoch: int
    seconds: float
    tower_calls: int
    difference: float = 0.0


def step(model: Any, forward: Any, batch: dict[str, Any], live: bool) -> tuple[float, list[Any]]:
    """Process seconds; the loss and the gradients."""
    import torch

    from resonance.forward.call import Forward
    from resonance.forward.result import sums

    start = time.process_time()
    prepared = forward.prepare(batch, model, model if live else None)
    reference = torch.zeros(2)
    if live:
        with torch.no_grad(), model.disable_adapter():
            reference = sums(Forward.call(model, model, prepared))
    chosen, rejected = (sums(Forward.call(model, model, prepared)) - reference).unbind()
    loss = -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected))
    loss.backward()
    seconds = time.process_time() - start
    found = [loss.detach(), *(p.grad for p in model.parameters() if p.requires_grad)]
    for parameter in model.parameters():
        parameter.grad = None
    return seconds, found


def measure(ratio: str, live: bool) -> tuple[list[Row], str]:
    from statistics import median

    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch
    from benchmarks.small_step import SHAPES, build, make_batch, make_pairs

    from resonance.forward.call import Forward
    from resonance.forward.features import FeatureCache
    from resonance.forward.names import SPEEDUPS
    from resonance.forward.tower import tower_modules

    torch.set_num_threads(1)
    model, _ = build(SHAPES[ratio], "lora")
    batch = make_batch(model, SHAPES[ratio]["vocabulary"], make_pairs(1))
    batches = [batch | {"pixel_values": batch["pixel_values"].roll(i, 1)} for i in range(PICTURES)]
    calls: list[int] = []
    tower_modules(model)[0].register_forward_hook(lambda *_: calls.append(1))
    variants = {"without": Forward(SPEEDUPS), "with": Forward(SPEEDUPS)}
    cache = FeatureCache(1 << 28, PICTURES, print)
    for forward in variants.values():  # loads and allocates what a first step does
        step(model, forward, batch, live)
    variants["with"].feature_cache = cache
    rows = []
    for epoch in range(1, EPOCHS + 1):
        found: dict[str, list[Any]] = {name: [] for name in variants}
        counts = dict.fromkeys(variants, 0)
        for one in batches:
            for name, forward in variants.items():
                calls.clear()
                found[name].append(step(model, forward, one, live))
                counts[name] += len(calls)
        pairs = zip(*([t for _, tensors in found[name] for t in tensors] for name in variants), strict=True)
        worst = max(float((a - b).abs().max()) for a, b in pairs)
        for name in variants:
            rows.append(Row(name, epoch, median(seconds for seconds, _ in found[name]), counts[name]))
        rows[-1].difference = worst
    of = cache.account
    told = ", ".join(f"{work} {1e3 * of.seconds(work):.1f} ms" for work in ("encode", "look up", "fetch", "keep"))
    return rows, f"{cache.summary()}; a picture: {told}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ratio", choices=("2b", "7b"), default="2b", help="cost of the parts to each other, as in")
    parser.add_argument("--cached-reference", action="store_true", help="as with precompute_ref_log_probs: true")
    parser.add_argument("--json", type=Path, help="write the rows here")
    args = parser.parse_args()
    rows, told = measure(args.ratio, live=not args.cached_reference)
    for plain, kept in zip(rows[::2], rows[1::2], strict=True):
        print(
            f"epoch {kept.epoch}: {plain.seconds:.2f} -> {kept.seconds:.2f} s a step "
            f"({plain.seconds / kept.seconds:.2f}x), calls of the tower {plain.tower_calls} -> {kept.tower_calls}, "
            f"difference {kept.difference:g}"
        )
    print(told)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(any(row.difference for row in rows))


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
    sys.exit(main())
