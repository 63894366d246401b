# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Requests wait in line and are scored by one thread, several small ones together where that pays."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..rewards import Completions, Scores
from .metrics import Metrics
from .read import joined

Row = tuple[float | None, str]  # a score, and its reason


@dataclass(eq=False)
class Job:
    """A request in line."""

    batch: Completions
    done: asyncio.Future[list[Row]]

    @property
    def kind(self) -> tuple[object, ...]:
        """Jobs of one kind can be scored together."""
        return (self.batch.messages is None, *sorted(self.batch.columns))


class Batcher:
    """Scores batches one after the other.

    Args:
        score: completions, in a thread.
        size: completions of several requests that are scored together; 1 keeps each request as it is.
        wait: seconds that a request waits for others to be scored with.
        metrics: counts.

    Attributes:
        since: when the scoring in progress began; None while nothing is scored.
    """

    def __init__(self, score: Callable[[Completions], Scores], size: int, wait: float, metrics: Metrics) -> None:
        self.score, self.size, self.wait, self.metrics = score, size, wait, metrics
        self.since: float | None = None
        self._jobs: deque[Job] = deque()
        self._line = threading.Condition()
        self._ended = False

    def start(self) -> None:
        """Begin to score. A reward that hangs keeps no process from ending."""
        threading.Thread(target=self._run, name="resonance-score", daemon=True).start()

    def end(self) -> None:
        """Score no more."""
        with self._line:
            self._ended = True
            self._line.notify()

    async def submit(self, batch: Completions) -> list[Row]:
        """The score of each completion; raises what scoring it raised."""
        if not len(batch):
            return []
        job = Job(batch, asyncio.get_running_loop().create_future())
        with self._line:
            self._jobs.append(job)
            self._line.notify()
        return await job.done

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return len(self._jobs)

    def _run(self) -> None:
        while jobs := self._next():
            if wanted := [job for job in jobs if not job.done.done()]:
                self.since = start = time.monotonic()
                results = self._scored(wanted)
                self.since = None
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    wanted[0].done.get_loop().call_soon_threadsafe(
                        self._deliver, wanted, results, time.monotonic() - start
                    )

    def _next(self) -> list[Job]:
        """What is scored next, none at the end."""
        with self._line:
            self._line.wait_for(lambda: self._jobs or self._ended)
            if self.size > 1:
                self._line.wait_for(self._is_full, self.wait)
            if self._ended:
                return []
            jobs = [self._jobs.popleft()]
            count = len(jobs[0].batch)
            while self._jobs and self._jobs[0].kind == jobs[0].kind and count + len(self._jobs[0].batch) <= self.size:
                jobs.append(self._jobs.popleft())
                count += len(jobs[-1].batch)
            return jobs

    def _is_full(self) -> bool:
        return self._ended or sum(len(job.batch) for job in self._jobs) >= self.size

    def _deliver(self, jobs: Sequence[Job], results: Sequence[list[Row] | Exception], seconds: float) -> None:
        self.metrics.scored(sum(len(job.batch) for job in jobs), seconds)
        for job, result in zip(jobs, results, strict=True):
            if job.done.done():  # nobody waits for it any more
                continue
            if isinstance(result, Exception):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)

    def _scored(self, jobs: Sequence[Job]) -> list[list[Row] | Exception]:
        """The rows of each job; where scoring them together fails, each alone, so that only those at fault fail."""
        try:
            scores = self.score(joined([job.batch for job in jobs]))
        except BaseException as error:  # whatever it is, this thread goes on: no other scores the next request
            if len(jobs) == 1:
                return [error if isinstance(error, Exception) else ValueError(f"{type(error).__name__}: {error}")]
            return [result for job in jobs for result in self._scored([job])]
        rows = [(total, next(iter(scores.reasons(row).values()), "")) for row, total in enumerate(scores.totals)]
        found: list[list[Row] | Exception] = []
        for job in jobs:
            found.append(rows[: len(job.batch)])
            rows = rows[len(job.batch) :]
        return found
