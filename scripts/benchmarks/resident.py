# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The peak of this process's memory, where the system says (Linux)."""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any


def resident(name: str = "VmRSS") -> float:
    """MB this process holds now, or has held at most since `reset_peak` (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def reset_peak() -> float | None:
    """Forget the peak; MB held now, or None where the system does not say."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return resident()


def return_memory_at_once(yes: bool) -> bool:
    """Whether glibc gives freed blocks back to the system: the peak is then what is in use, but all is slower.

    From the start of a process: blocks that were kept once are used again, and nobody sees it.
    """
    trim, threshold = -1, -3
    try:
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(threshold, 1 << 16 if yes else 1 << 25) and libc.mallopt(trim, 0 if yes else 1 << 30))
    except (OSError, AttributeError):
        return False


def in_a_fork(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin `work` in a copy of this process, and return a function that waits for its result."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(work()))
    process.start()
    sender.close()  # so that a child that fails ends the wait

    def result() -> Any:
        try:
            return receiver.recv()
        finally:
            process.join()

    return result
