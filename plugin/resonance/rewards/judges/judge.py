# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Judges over HTTP: the calls for a batch of completions, and what becomes of an answer without a score."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...wire import Client, ServerError
from ..scores import Verdicts
from ..spec import Completions, RewardError
from .api import Answer, Api, Images
from .cache import Cache, key_of

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

AFTER = "Nothing of this batch was used: start the run again, and it goes on from its last checkpoint."
TOO_LARGE = "The server takes no body of this size: give a smaller `batch_size`, or raise the server's own limit. "


@dataclass(frozen=True)
class Line:
    """How calls are made; see `wire.Client`."""

    url: str
    timeout: float
    retries: int
    concurrency: int
    key_env: str

    def client(self) -> Client:
        """ValueError where the URL or the key is none."""
        return Client(
            self.url,
            timeout=self.timeout,
            retries=self.retries,
            concurrency=self.concurrency,
            key_env=self.key_env,
        )


@dataclass(frozen=True)
class HttpJudge:
    """A server that scores completions. It is called as an asynchronous reward, beside the others.

    Attributes:
        api: how it is asked.
        line: how calls are made.
        images: how pictures travel.
        on_nan: where it gives no score that can be used: `stop`, `skip` to leave the reward out, or the number in
            its place.
        cache: of scores, or None.
    """

    api: Api
    line: Line
    images: str
    on_nan: str | float
    cache: Cache | None

    async def __call__(self, batch: Completions) -> Verdicts:
        """What it makes of a batch; RewardError where a call fails for good or an answer is wrong."""
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self.judged, batch, stop)
        except asyncio.CancelledError:
            stop.set()  # calls that have not begun are not made
            raise

    def check(self) -> None:
        """Call the server before it is needed. RewardError where it is not there, or is another one."""
        try:
            with self.line.client() as client:
                self.api.check(client)
        except ServerError as error:
            raise RewardError(f"the judge does not answer as it should, before any training: {error}") from error

    def judged(self, batch: Completions, stop: threading.Event | None = None) -> Verdicts:
        """The same in this thread.

        Args:
            batch: of completions.
            stop: makes no further call when it is set.
        """
        images = Images(self.images)
        items = [self.api.item(batch, row, images) for row in range(len(batch))]
        keys = self._keys(batch, items) if self.cache else [str(row) for row in range(len(batch))]
        found = self._known(keys)
        asked = {key: row for row, key in reversed(list(enumerate(keys))) if key not in found}
        rows, size = sorted(asked.values()), self.api.batch_size
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        try:
            with self.line.client() as client:
                calls = [partial(self._ask, client, part, items, keys, stop) for part in parts]
                for answers in client.together(calls):
                    found |= answers
        except ServerError as error:
            raise RewardError(f"{error}. {TOO_LARGE if error.status == 413 else ''}{AFTER}") from error
        if self.cache:
            self.cache.trim()
        return self._verdicts(batch, [found[key] for key in keys])

    def _ask(
        self,
        client: Client,
        rows: Sequence[int],
        items: Sequence[Any],
        keys: Sequence[str],
        stop: threading.Event | None,
    ) -> dict[str, Answer]:
        """Answers about some rows, by key; each is kept as soon as it is known, whatever becomes of other calls."""
        if stop is not None and stop.is_set():
            raise RewardError("it was not asked, because another reward has failed")
        body = self.api.body(rows, [items[row] for row in rows])
        answers = self.api.answers(self.line.url, rows, client.post(self.api.path, body))
        found = {keys[row]: answer for row, answer in zip(rows, answers, strict=True)}
        if self.cache:
            for key, answer in found.items():
                self.cache.put(key, answer)
        return found

    def _keys(self, batch: Completions, items: Sequence[Any]) -> list[str]:
        """By all that decides an answer: the judge, what it is asked, and pictures of which only paths are sent."""
        same = {"url": self.line.url, "api": type(self.api).__name__, **self.api.identity()}
        if self.images != "path":
            return [key_of({**same, "item": item}) for item in items]
        read = Images("base64")
        return [
            key_of({**same, "item": item, "images": read.sent(images)})
            for item, images in zip(items, batch.images, strict=True)
        ]

    def _known(self, keys: Iterable[str]) -> dict[str, Answer]:
        known = {key: self.cache.get(key) for key in set(keys)} if self.cache else {}
        return {key: answer for key, answer in known.items() if answer is not None}

    def _verdicts(self, batch: Completions, answers: Sequence[Answer]) -> Verdicts:
        refusals = [row for row, answer in enumerate(answers) if answer.refused]
        if refusals:
            first = refusals[0]
            what = (
                f"no score for {len(refusals)} of {len(batch)} completions, the first is completion {first}"
                f"{batch.of(first)}: {answers[first].reason}"
            )
            if self.on_nan == "stop":
                raise RewardError(
                    f"{what}. To go on without: `on_nan: skip` leaves the reward out for them, `on_nan: 0.0` (or "
                    f"another number) is taken in its place. {AFTER}"
                )
            logger.warning(f"{self.line.url}: {what} (on_nan: {self.on_nan})")
        instead = None if isinstance(self.on_nan, str) else self.on_nan
        return Verdicts(
            [instead if answer.refused else answer.score for answer in answers],
            [answer.reason for answer in answers],
            [answer.refused for answer in answers],
        )
