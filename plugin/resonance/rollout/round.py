# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Prompts dealt out to servers: each takes the next when it has room, until there are none or it fails."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..wire import ServerError
from .server import Server, StaleError
from .types import Completion


class Round:
    """One round. A server that fails takes no more in it, and leaves what it had to the others or to the next round.

    Args:
        numbers: of the prompts.
        answer: asks a server for one of them.

    Attributes:
        done: by number, the URL of the server that answered, and its completions.
        failed: by URL, why it takes no more.
    """

    def __init__(self, numbers: Sequence[int], answer: Callable[[Server, int], list[Completion]]) -> None:
        self.answer = answer
        self.done: dict[int, tuple[str, list[Completion]]] = {}
        self.failed: dict[str, Exception] = {}
        self._waiting = deque(numbers)
        self._fault: Exception | None = None
        self._lock = threading.Lock()

    def run(self, servers: Sequence[Server]) -> None:
        """Ask servers, each as many at a time as it takes; raises what is no failure of a server."""
        workers = [server for server in servers for _ in range(min(server.concurrency, len(self._waiting)))]
        if not workers:
            return
        with ThreadPoolExecutor(len(workers)) as pool:
            list(pool.map(self._serve, workers))
        if self._fault is not None:
            raise self._fault

    def _next(self, url: str) -> int | None:
        with self._lock:
            stop = self._fault is not None or url in self.failed or not self._waiting
            return None if stop else self._waiting.popleft()

    def _serve(self, server: Server) -> None:
        """One of the calls that a server gets at a time."""
        while (number := self._next(server.url)) is not None:
            try:
                found = self.answer(server, number)
            except (ServerError, StaleError) as error:
                with self._lock:
                    self._waiting.append(number)
                    self.failed[server.url] = error
            except Exception as error:
                self._fault = error
            else:
                with self._lock:
                    self.done[number] = server.url, found
