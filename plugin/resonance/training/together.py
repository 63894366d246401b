# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What stops one rank stops all, with its cause: a rank that stops alone leaves the others waiting for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from accelerate.utils import gather_object

T = TypeVar("T")


def on_all_ranks(call: Callable[[], T]) -> T:
    """Call it on this rank; all ranks have to. What it does may not wait for other ranks.

    Args:
        call: this rank's part.

    Raises:
        ValueError: it failed on another rank; names the lowest, and why. On that rank its own error is raised.
    """
    failed: Exception | None = None
    try:
        result = call()
    except Exception as error:
        failed = error
    mine = None if failed is None else f"{type(failed).__name__}: {failed}"
    causes = {rank: cause for rank, cause in enumerate(gather_object([mine])) if cause is not None}
    if failed is not None:
        raise failed
    if causes:
        rank = min(causes)
        raise ValueError(f"Rank {rank} stopped, and all others with it. {causes[rank]}")
    return result


def several_nodes() -> bool:
    """Whether ranks of this run may be on other machines than this one. Ray does not tell how many are here."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return world > int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
