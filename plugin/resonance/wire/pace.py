# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How fast a server is called: so many calls and tokens a minute, and all callers wait when it asks for that."""

from __future__ import annotations

import threading
import time
from email.utils import parsedate_to_datetime

MINUTE = 60.0


class Stopped(Exception):
    """No further call is to be made."""


class Pace:
    """Shared by the threads that call one server. Calls are spread evenly: no minute has more than it may.

    Args:
        calls: a minute, tries that fail among them; 0 for as many as come.
        tokens: a minute; 0 for as many as come.
    """

    def __init__(self, calls: float = 0, tokens: float = 0) -> None:
        self.calls, self.tokens = calls, tokens
        self._next = 0.0  # when the next call may be made
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def wait(self, tokens: float = 0) -> None:
        """Return when a call with so many tokens may be made. Stopped where none may be made any more."""
        cost = MINUTE / self.calls if self.calls else 0.0
        cost = max(cost, MINUTE * tokens / self.tokens if self.tokens else 0.0)
        while True:
            with self._lock:
                left = self._next - time.monotonic()
                if left <= 0 and not self._stop.is_set():
                    self._next = time.monotonic() + cost
                    return
            self.pause(left)

    def hold(self, seconds: float) -> None:
        """Let no call begin for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def pause(self, seconds: float) -> None:
        """Sleep, this thread alone. Stopped where no call may be made any more."""
        if self._stop.wait(max(seconds, 0)):
            raise Stopped

    def stop(self) -> None:
        """Wake who waits, and make no further call."""
        self._stop.set()


def seconds_in(after: str) -> float:
    """What `Retry-After` asks to wait, a number of seconds or a date; 0 for anything else."""
    try:
        return float(after) if after.isdecimal() else max(parsedate_to_datetime(after).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0
