# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Time limits, and the event loop of asynchronous rewards."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


class TimeUp(BaseException):
    """The time of a reward is up. No Exception, or a function that expects the worst would catch it and go on."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeUp in the block when it takes longer: in Python code, a sleep, a socket or a regular expression.

    A timer of the process does it, so that the block runs in this thread, on its CUDA device. Only the main thread can
    have one; elsewhere there is no limit, and a warning says so once.
    """
    if threading.current_thread() is not threading.main_thread():
        _warn_of_no_limit()
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def foreign_timers() -> Iterator[None]:
    """Start the running time limit again after a block that uses the timer of the process itself."""
    start, left = time.monotonic(), signal.getitimer(signal.ITIMER_REAL)[0]
    try:
        yield
    finally:
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - start), 1e-3))


@cache
def _warn_of_no_limit() -> None:
    logger.warning("Rewards run outside the main thread, where Python has no timer: their timeouts are not kept.")


def event_loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of its own, the same for all calls, as clients and sessions of a function belong to one."""
    return _event_loop(os.getpid())


@cache
def _event_loop(pid: int) -> asyncio.AbstractEventLoop:
    # Keyed by process, because a fork has the loop and not its thread.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="resonance-rewards", daemon=True).start()
    return loop
