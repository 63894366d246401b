# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the ranks of a run decide together."""

from __future__ import annotations

import torch
import torch.distributed as dist


def agreed(answer: bool, device: torch.device) -> bool:
    """Whether every rank answers yes. All ranks have to ask."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return answer
    vote = torch.tensor(int(answer), device=device)
    dist.all_reduce(vote, dist.ReduceOp.MIN)
    return bool(vote)
