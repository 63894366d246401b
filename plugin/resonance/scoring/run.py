# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Asking a judge, several questions at a time, until all are answered or the server fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from ..rewards import RewardError
from ..wire import Pace, ServerError, Stopped
from .journal import Journal
from .types import NO_ANSWER, NOT_ASKED, UNREADABLE, Ask, Judge, Verdict

FOR_GOOD = frozenset({401, 402, 403, 404, 405})  # answers that each further call would get
GIVE_UP = 10  # calls one after another without an answer, beside those in flight


@dataclass
class Asking:
    """One run of questions.

    Args:
        judge: is asked.
        journal: takes its verdicts.
        pace: of calls; is stopped with the run.
        on_answer: called with how many questions are done, from the threads that ask.

    Attributes:
        unanswered: verdicts of questions that got no answer; the journal has none of them.
        answered: how many were.
        tokens: in and out, as the server counted them.
        broken: why no more is asked, empty while all is well.
    """

    judge: Judge
    journal: Journal
    pace: Pace
    on_answer: Callable[[int], None] = lambda count: None
    unanswered: dict[str, Verdict] = field(default_factory=dict)
    answered: int = 0
    tokens: tuple[int, int] = (0, 0)
    broken: str = ""
    _failures: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, asks: Iterable[Ask]) -> None:
        """Ask all that the journal does not know, each once."""
        waiting: set[Future[None]] = set()
        with ThreadPoolExecutor(self.judge.concurrency) as pool:
            try:
                for batch in _batches(self._new(asks), self.judge.batch_size):
                    if self.broken:
                        self._keep({ask.key: Verdict((), self.broken, NOT_ASKED) for ask in batch})
                        continue
                    waiting.add(pool.submit(self._batch, batch))
                    if len(waiting) >= 2 * self.judge.concurrency:
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        _raise(done)
                _raise(wait(waiting).done)
            except BaseException:
                self.pace.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _new(self, asks: Iterable[Ask]) -> Iterator[Ask]:
        seen = set[str]()
        for ask in asks:
            if ask.key not in self.journal.known and ask.key not in seen:
                seen.add(ask.key)
                yield ask

    def _batch(self, asks: Sequence[Ask]) -> None:
        try:
            if self.broken:
                raise Stopped
            found = dict(zip([ask.key for ask in asks], self._verdicts(asks), strict=True))
        except Stopped:
            self._keep({ask.key: Verdict((), self.broken, NOT_ASKED) for ask in asks})
            return
        except ServerError as error:
            self._keep({ask.key: Verdict((), str(error), NO_ANSWER) for ask in asks})
            self._failed(error)
            return
        self.journal.put(found)
        with self._lock:
            self._failures = 0
            self.answered += len(asks)
            used = [verdict.tokens for verdict in found.values()]
            self.tokens = (self.tokens[0] + sum(t for t, _ in used), self.tokens[1] + sum(t for _, t in used))
        self.on_answer(len(asks))

    def _verdicts(self, asks: Sequence[Ask], again: bool = True) -> list[Verdict]:
        """Those of a batch; where there are none for it as a whole, it is asked once more, one by one."""
        try:
            return self.judge.answer(asks)
        except RewardError as error:
            if not again:
                return [Verdict((), str(error), UNREADABLE)]
            return [self._verdicts([ask], again=False)[0] for ask in asks]

    def _failed(self, error: ServerError) -> None:
        """Count it; give up where further calls would fail as well."""
        with self._lock:
            self._failures += 1
            if error.status in FOR_GOOD or self._failures >= GIVE_UP + self.judge.concurrency:
                self.broken = self.broken or str(error)
        if self.broken:
            self.pace.stop()

    def _keep(self, unanswered: Mapping[str, Verdict]) -> None:
        with self._lock:
            self.unanswered |= unanswered
        self.on_answer(len(unanswered))


def _batches(asks: Iterator[Ask], size: int) -> Iterator[list[Ask]]:
    while batch := list(islice(asks, size)):
        yield batch


def _raise(done: Iterable[Future[None]]) -> None:
    """The error of a question, if there is one: a fault of ours, or a full disk."""
    for future in done:
        future.result()
