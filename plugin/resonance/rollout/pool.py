# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Completions from servers: whichever answers, with the weights of now, or nobody for too long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from ..wire import ServerError, data_uri
from ..wire.client import PASSING
from .agreement import Agreement
from .round import Round
from .server import Request, Server, StaleError, Weights
from .types import Completion, Sampling

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

Row = Mapping[str, Any]
PAUSE = 1.0  # seconds before servers that failed are asked again
# A request that is wrong itself, whichever server gets it.
WRONG = (400, 401, 403, 413, 422)


class Publisher(Protocol):
    """Writes the policy's weights where servers read them; all ranks call these together."""

    def write(self, version: int) -> Weights:
        """The weights of now."""
        ...

    def hand_out(self, load: Callable[[], None]) -> None:
        """Call `load` on each rank, which gives the rank's servers the weights, and forget the ones before.

        An error on one rank is one on all.
        """
        ...

    def remove(self) -> None:
        """Forget all."""
        ...


@dataclass(frozen=True)
class Terms:
    """What every request of a run has in common.

    Attributes:
        speak: a row -> messages, in which images are images.
        where: a row -> its name in messages.
        end_tokens, banned: of every completion.
        wait: seconds without a completion before the run stops.
        rank, world: which of how many processes this is.
    """

    speak: Callable[[Row], list[dict[str, Any]]]
    where: Callable[[Row], str]
    end_tokens: Sequence[int]
    banned: Sequence[int]
    wait: float
    rank: int = 0
    world: int = 1


class ServerRollout:
    """A back-end of one or several servers.

    A process asks its own share of them, and the others where none of these answers. What a server that failed has
    left undone is asked of another. Before a server is asked, and after it has answered, it has to have the weights of
    now; one that has others is given these, and its answers are asked for again.

    Args:
        servers: all of them.
        terms: of the requests.
        agreement: between the prompts here and there.
        publisher: of weights.
    """

    def __init__(self, servers: Sequence[Server], terms: Terms, agreement: Agreement, publisher: Publisher) -> None:
        self.servers, self.terms, self.agreement, self.publisher = list(servers), terms, agreement, publisher
        own = self.servers[terms.rank :: terms.world] or [self.servers[terms.rank % len(self.servers)]]
        self.own, self.others = own, [server for server in self.servers if server not in own]
        self.weights: Weights | None = None
        self.version = -1
        self._down: dict[str, str] = {}

    def alone(self, server: Server) -> ServerRollout:
        """The same with one server, which is not waited for."""
        terms = replace(self.terms, wait=0.0, rank=0, world=1)
        return ServerRollout([server], terms, self.agreement, self.publisher)

    def take(self, version: int) -> None:
        """Give all servers the weights of now; one that does not answer gets them when it does.

        Raises:
            ValueError: a server cannot load them.
        """
        if version == self.version:
            return
        self.weights, self.version = self.publisher.write(version), version
        self.publisher.hand_out(self._load_own)

    def _load_own(self) -> None:
        assert self.weights is not None  # of `take`
        for server in self.servers[self.terms.rank :: self.terms.world]:
            self._usable(server, self.weights)

    def close(self) -> None:
        """Remove the folder of weights; servers keep the last ones in memory."""
        self.publisher.remove()

    def generate(
        self, rows: Sequence[Row], count: int, sampling: Sampling, version: int, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """`count` completions of each row; see `Rollout`. `take` has to come first.

        Raises:
            ValueError: a server has another prompt than the trainer, or none answered for too long.
        """
        assert self.weights is not None and version == self.version, "the weights of this version were not taken"
        weights, last, found = self.weights, time.monotonic(), dict[int, list[Completion]]()

        def answer(server: Server, number: int) -> list[Completion]:
            return self._answer(server, weights, rows[number], count, sampling, seeds[number])

        failed: set[str] = set()
        while len(found) < len(rows):
            fresh = self._ask(
                self._ready(weights, failed), weights, [i for i in range(len(rows)) if i not in found], answer
            )
            found |= fresh
            last, failed = time.monotonic() if fresh else last, set(self._down)
            if len(found) < len(rows):
                self._wait(last)
        return [found[i] for i in range(len(rows))]

    def _wait(self, last: float) -> None:
        if time.monotonic() - last > self.terms.wait:
            causes = "".join(f"\n  {cause}" for cause in self._down.values())
            raise ValueError(
                f"rollout_url: no completion for {self.terms.wait:g} s (rollout_wait):{causes}\n"
                f"Start the servers and resume from the last checkpoint. {self.agreement.start()}"
            )
        time.sleep(PAUSE)

    def _ready(self, weights: Weights, failed: Collection[str]) -> list[Server]:
        """The first that answer and have the weights: this process's own, all others, those that failed just now."""
        for servers in (self.own, self.others):
            fine = [server for server in servers if server.url not in failed]
            if found := [server for server in fine if self._usable(server, weights)]:
                return found
        return [server for server in self.servers if server.url in failed and self._usable(server, weights)]

    def _usable(self, server: Server, weights: Weights) -> bool:
        """Whether it answers; it has the weights then.

        Raises:
            ValueError: it refuses them.
        """
        try:
            if not server.holds(weights):
                self._load(server, weights)
        except ServerError as error:
            if error.status is not None and error.status not in PASSING:
                self._refuse(server, error)
            self._leave_out(server.url, error)
            return False
        if self._down.pop(server.url, None):
            logger.warning(f"{server.url} answers again, and has the weights of now.")
        return True

    def _load(self, server: Server, weights: Weights) -> None:
        try:
            server.load(weights)
        except ServerError as error:
            if error.status == 500:  # of weights that it cannot load, or of an engine that has died
                time.sleep(PAUSE)
                server.holds(weights)
                self._refuse(server, error)
            raise

    def _refuse(self, server: Server, error: ServerError) -> NoReturn:
        raise ValueError(
            f"rollout_url: {server.url} cannot be given the policy's weights: {error}\n{self.agreement.start()}"
        ) from error

    def _leave_out(self, url: str, error: Exception) -> None:
        if url not in self._down:
            logger.warning(f"{url} is left out until it answers: {error}")
        self._down[url] = str(error)

    def _ask(
        self,
        servers: Sequence[Server],
        weights: Weights,
        numbers: Sequence[int],
        answer: Callable[[Server, int], list[Completion]],
    ) -> dict[int, list[Completion]]:
        """Completions by number, of those prompts that were answered with these weights."""
        work = Round(numbers, answer)
        work.run(servers)
        for url, error in work.failed.items():
            self._leave_out(url, error)
        answered = {url for url, _ in work.done.values()}
        valid = {server.url for server in servers if server.url in answered and self._still(server, weights)}
        return {number: found for number, (url, found) in work.done.items() if url in valid}

    def _still(self, server: Server, weights: Weights) -> bool:
        """Whether it has had these weights all the time."""
        try:
            if server.holds(weights):
                return True
            error: Exception = StaleError(f"{server.url} has other weights than it was given, its answers are dropped")
        except ServerError as unreachable:
            error = unreachable
        self._leave_out(server.url, error)
        return False

    def _answer(
        self, server: Server, weights: Weights, row: Row, count: int, sampling: Sampling, seed: int
    ) -> list[Completion]:
        messages = [{**message, "content": encoded(message["content"])} for message in self.terms.speak(row)]
        ids, terms = row["input_ids"], self.terms
        request = Request(messages, ids, count, sampling, seed, terms.end_tokens, terms.banned)
        where = f"{server.url}, {terms.where(row)}"
        try:
            answer = server.complete(request, weights)
        except ServerError as error:
            if error.status in WRONG:
                raise ValueError(f"{where}: {error}\n{self.agreement.start()}") from error
            raise
        except (KeyError, IndexError, TypeError) as error:  # a part of the answer that is not there
            raise ValueError(
                f"{where}: the answer is none of the server that `rollout_backend` names, or of another version of it "
                f"({type(error).__name__}: {error}). {self.agreement.start()}"
            ) from error
        self.agreement.check(request, answer, where)
        return [Completion(one.token_ids, one.logps, one.finish_reason, self.version) for one in answer.choices]


def encoded(content: Any) -> Any:
    """Images as data URIs, which carry every pixel as it is."""
    if isinstance(content, str):
        return content
    return [
        {"type": "image_url", "image_url": {"url": data_uri(part["image"])}} if part["type"] == "image" else part
        for part in content
    ]
