# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""An update and a generation of GRPO on a small random Qwen2-VL: seconds by phase, FLOPs, differences.

    python scripts/benchmark_rl_step.py                   # LoRA, eight completions of 64 tokens on average
    python scripts/benchmark_rl_step.py --responses 133 --mode full --json rows.json

The parts of the model cost relative to each other what those of a 2B model cost. The update is the reference's pass,
and forward and backward of the policy with gradient checkpointing, of one prompt with a picture and its completions.
`a member` is what other trainers do: picture and prompt once for every completion, the head on responses only, a
frozen tower without a graph. Generation is compared with `generate(num_return_sequences=...)`, which reads picture and
prompt for every completion. One thread, process time, the better of two. It fails if log-probabilities differ by more
than 1e-5, or the gradient relative to its norm does, or a sampled token.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.group import make_group
from benchmarks.small_step import SHAPES, build

LIMIT = 1e-5
NEW = 32  # tokens to generate
MEMBER, SHARED = "a member", "shared"


@dataclass
class Row:
    """One way to do a phase; differences are from the first way, in nats a token and relative to a gradient's norm."""

    phase: str
    way: str
    seconds: float
    gflops: float
    dlogp: float
    dgrad_rel: float


class Update:
    """The update of one group, by one way."""

    def __init__(self, model: Any, reference: Any, batch: dict[str, Any], on: frozenset[str]) -> None:
        from resonance.forward.call import Forward

        self.model, self.reference, self.batch = model, reference, batch
        self.forward = Forward(on)
        self.seconds: dict[str, float] = {}

    def run(self) -> tuple[Any, Any]:
        """Log-probabilities of the policy, and its gradient."""
        import torch

        from resonance.forward.call import Forward
        from resonance.forward.readers import Entropy, Logp
        from resonance.policy import aggregate, kl, policy_loss
        from resonance.reference.adapters import adapters_off

        self.model.zero_grad()
        began = time.process_time()
        prepared = self.forward.prepare(self.batch, self.model, self.reference or self.model)
        with torch.no_grad():
            if self.reference is None:
                with adapters_off(self.model):
                    ref = Forward.call(self.model, self.model, prepared, (Logp(),))
            else:
                ref = Forward.call(self.reference, self.reference, prepared, (Logp(),))
        between = time.process_time()
        found = Forward.call(self.model, self.model, prepared, (Logp(), Entropy()))
        logps, mask = found.columns["logp"], found.mask.bool()
        advantages = torch.linspace(-1.0, 1.0, len(logps))[:, None].expand_as(logps)
        how = "seq-mean-token-mean"
        loss = policy_loss("ppo_clip", logps, logps.detach(), advantages, mask, aggregation=how).loss
        (loss + 0.05 * aggregate(kl("k3", logps, ref.columns["logp"]), mask, how)).backward()
        self.seconds = {"reference": between - began, "policy": time.process_time() - between}
        gradient = torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None])
        return torch.where(mask, logps.detach(), 0.0), gradient


def updates(mode: str, members: int, responses: int) -> Iterator[Row]:
    """The phases of an update, by both ways."""
    from torch.utils.flop_counter import FlopCounterMode

    from resonance.forward.names import FROZEN_TOWER, RESPONSE_HEAD, SPEEDUPS

    model, reference = build(SHAPES["2b"], mode)
    batch = make_group(model, SHAPES["2b"]["vocabulary"], members, responses)
    first = None
    for way, on in ((MEMBER, {RESPONSE_HEAD, FROZEN_TOWER}), (SHARED, set(SPEEDUPS))):
        update = Update(model, reference, batch, frozenset(on))
        with FlopCounterMode(display=False) as counter:
            logps, gradient = update.run()
        once = update.seconds
        update.run()
        best = {phase: min(once[phase], seconds) for phase, seconds in update.seconds.items()}
        first = first or (logps, gradient)
        dlogp = float((logps - first[0]).abs().max())
        dgrad = float((gradient - first[1]).norm() / first[1].norm())
        flops = counter.get_total_flops() / 1e9
        yield Row("update", way, sum(best.values()), flops, dlogp, dgrad)
        for phase, seconds in best.items():
            yield Row(f"  of it {phase}", way, seconds, float("nan"), dlogp, dgrad)


def generations(members: int) -> Iterator[Row]:
    """NEW tokens of each member, by both ways, with one seed: the same tokens."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from resonance.rollout.local import LocalRollout
    from resonance.rollout.states import generating
    from resonance.rollout.types import Sampling

    model, _ = build(SHAPES["2b"], "full")
    batch = make_group(model, SHAPES["2b"]["vocabulary"], 1, 0)
    batch.pop("labels")
    kinds = (batch["input_ids"] == model.config.image_token_id).int()
    rollout = LocalRollout(model, lambda rows: batch, [], pad_token=2, size=1)
    sampling = Sampling(NEW, min_new_tokens=NEW)
    banned = [[token] for token in rollout.banned]
    plain = {name: value for name, value in batch.items() if name not in ("position_ids", "rope_deltas")}

    def member() -> Any:
        options = dict(do_sample=True, top_k=0, max_new_tokens=NEW, pad_token_id=2, eos_token_id=[])
        found = model.generate(
            **plain, mm_token_type_ids=kinds, num_return_sequences=members, bad_words_ids=banned, **options
        )
        return found[:, plain["input_ids"].shape[1] :]

    def shared() -> Any:
        return rollout.sample(batch, members, sampling)[0]

    first = None
    ways: dict[str, Callable[[], Any]] = {MEMBER: member, SHARED: shared}
    for way, generate in ways.items():
        with generating(model), FlopCounterMode(display=False) as counter:
            generate()
        seconds = []
        for _ in range(2):
            torch.manual_seed(0)
            with generating(model):
                began = time.process_time()
                tokens = generate()
                seconds.append(time.process_time() - began)
        flops = counter.get_total_flops() / 1e9
        first = tokens if first is None else first
        yield Row(f"generate {NEW} tokens", way, min(seconds), flops, float((tokens != first).sum()), 0.0)


def show(rows: list[Row]) -> None:
    base = {row.phase: row for row in rows if row.way == MEMBER}
    for row in rows:
        than = base[row.phase]
        line = f"{row.phase:20s} {row.way:9s} {row.seconds:6.2f} s {than.seconds / row.seconds:5.2f}x"
        if row.gflops == row.gflops:
            line += f" {row.gflops:7.1f} GFLOP {than.gflops / row.gflops:5.2f}x"
        print(f"{line:66s} difference {row.dlogp:.0e}, gradient {row.dgrad_rel:.0e}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("lora", "full"), default="lora")
    parser.add_argument("--members", type=int, default=8, help="completions of the prompt")
    parser.add_argument("--responses", type=int, default=64, help="tokens of a completion on average")
    parser.add_argument("--json", type=Path, help="write the rows here")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rows = [*updates(args.mode, args.members, args.responses), *generations(args.members)]
    print(f"2b ratio, {args.mode}, {args.members} completions of {args.responses} tokens on average")
    show(rows)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if any(not (row.dlogp <= LIMIT and row.dgrad_rel <= LIMIT) for row in rows):
        print("benchmark_rl_step: the ways do not compute the same", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
    sys.exit(main())
