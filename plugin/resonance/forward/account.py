# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whether keeping features pays: what is found, and what finding, fetching and keeping cost beside encoding."""

from __future__ import annotations

import time as clock
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

_SAMPLES = 9  # of each kind of work are timed: timing waits for the device, so it is not done for long


class Account:
    """Counts pictures and judges the latest `window` of them, once more than `pictures` have been encoded."""

    def __init__(self, pictures: int, window: int) -> None:
        self.lookups = self.hits = 0
        self._pictures, self._window = pictures, window
        self._from = 0, 0  # lookups and hits at the last judgement
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def count(self, found: bool) -> None:
        """One more picture."""
        self.lookups += 1
        self.hits += found

    @contextmanager
    def time(self, work: str, device: torch.device, pictures: int = 1) -> Iterator[None]:
        """Time a piece of work on `pictures`, the first few times of its kind."""
        samples = self._seconds[work]
        if len(samples) >= _SAMPLES:
            yield
            return
        _wait(device)
        began = clock.perf_counter()
        yield
        _wait(device)
        samples.append((clock.perf_counter() - began) / pictures)

    def seconds(self, work: str) -> float:
        """A picture: the median, so that a first call that loads kernels does not count. 0 if never done."""
        return median(self._seconds[work] or [0.0])

    def verdict(self) -> str | None:
        """Why the cache does not pay; None if it does, or it is too early to say."""
        if self.lookups - self.hits <= self._pictures:
            self._from = self.lookups, self.hits
        looked, found = self.lookups - self._from[0], self.hits - self._from[1]
        if looked < self._window:
            return None
        self._from = self.lookups, self.hits
        saved = found * (self.seconds("encode") - self.seconds("fetch"))
        spent = looked * self.seconds("look up")
        if saved > spent:
            return None
        return (
            f"it does not pay: of the last {looked} pictures {found} were found; a picture takes "
            f"{1e3 * self.seconds('encode'):.1f} ms to encode, {1e3 * self.seconds('look up'):.1f} ms to look up and "
            f"{1e3 * self.seconds('fetch'):.1f} ms to fetch"
        )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
