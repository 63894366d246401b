# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What each of two ranks runs: log-probabilities, entropies and values are read under DDP and FSDP, and learned from.

Prints on rank 0, by case and part of the model, the largest relative difference of a parameter's gradient from that of
one process that reads both batches.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from forward.tiny import FAMILIES, for_training, make, pairs, picture
from resonance.forward.call import Forward
from resonance.forward.names import SPEEDUPS
from resonance.forward.readers import Entropy, Logp, Value

READERS = (Logp(0.7), Entropy(0.7), Value("value_head"))
CASES = {"ddp": SPEEDUPS, "ddp, plain": (), "ddp that looks for unused parameters": SPEEDUPS, "fsdp": SPEEDUPS}


def build() -> Any:
    model = make(FAMILIES["qwen2_vl"]())
    model.value_head = torch.nn.Linear(model.config.get_text_config().hidden_size, 1)
    return for_training(model, "frozen", "non-reentrant")


def wrap(model: Any, case: str) -> Any:
    if case != "fsdp":
        return DistributedDataParallel(model, find_unused_parameters="unused" in case)
    for layer in model.model.language_model.layers:
        fully_shard(layer)
    return fully_shard(model)


def learn(wrapped: Any, model: Any, seed: int, on: Any) -> None:
    batch = pairs(model, [[picture(model, seed)], []], seed=seed)
    columns = Forward.call(wrapped, model, Forward(on).prepare(batch, model, model), READERS).columns
    sum((3 - i) * columns[name].sum() for i, name in enumerate(("logp", "entropy", "value"))).backward()


def differences(case: str, on: Any) -> dict[str, float]:
    alone = build()
    for seed in range(2):
        learn(alone, alone, seed, on)
    model = build()
    learn(wrap(model, case), model, dist.get_rank(), on)
    worst: dict[str, float] = {}
    for (name, found), right in zip(model.named_parameters(), alone.parameters(), strict=True):
        if right.requires_grad:
            whole = found.grad.full_tensor() if hasattr(found.grad, "full_tensor") else found.grad
            error = float((whole - right.grad / 2).norm() / right.grad.norm().clamp(min=1e-3))
            worst[name.partition(".")[0]] = max(worst.get(name.partition(".")[0], 0.0), error)
    return worst


def main(rank: str, meeting_point: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=int(rank), world_size=2)
    found = {case: differences(case, on) for case, on in CASES.items()}
    if rank == "0":
        print(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
