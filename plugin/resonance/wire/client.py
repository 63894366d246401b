# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A client of a JSON server that waits as long as it is told, tries again when that can help, and keeps its key."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

from .address import checked_host, is_loopback, key_in
from .pace import Pace, seconds_in

T = TypeVar("T")
# Answers that another try may change: too early, too many, and the server's own faults.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
CROWDED = frozenset({429, 503})  # what holds for all calls of a server
LONGEST_WAIT = 30.0  # seconds between two tries, whatever the server asks for
LARGEST_ANSWER = 256 * 2**20
SHOWN = 300  # characters of an answer in a message


class ServerError(ValueError):
    """A call that failed for good.

    Attributes:
        status: of the last answer, None if there was none.
        answer: the beginning of its text.
    """

    def __init__(self, message: str, status: int | None = None, answer: str = "") -> None:
        super().__init__(message)
        self.status, self.answer = status, answer


class _Failed(Exception):
    """One try.

    Attributes:
        again: whether another one may end otherwise.
        after: seconds that the server asks to wait before.
    """

    def __init__(
        self, reason: str, again: bool, status: int | None = None, answer: str = "", after: float = 0
    ) -> None:
        super().__init__(reason)
        self.again, self.status, self.answer, self.after = again, status, answer, after


class Client:
    """Calls of one server. Safe to be used by several threads.

    Args:
        url: of the server, without user, password or query.
        timeout: seconds of one try, from connecting to the last byte of the answer.
        retries: further tries after one that failed in passing: no connection, no answer in time, 408, 425, 429, 5xx,
            or an answer that is not JSON. They wait 0.5 s, 1 s, 2 s ..., or as long as `Retry-After` asks for.
        concurrency: calls at a time.
        key_env: the environment variable with the key, sent as `Authorization: Bearer KEY`; empty for none.
        pace: how fast it is called, None for as fast as calls come.

    Raises:
        ValueError: the URL is none of http or https, or has a secret in it; the variable is not set.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 120.0,
        retries: int = 3,
        concurrency: int = 8,
        key_env: str = "",
        pace: Pace | None = None,
    ) -> None:
        import httpx

        self._pace = pace
        self.url, self.timeout, self.retries, self.concurrency = url.rstrip("/"), timeout, retries, concurrency
        self._key = key_in(key_env)
        host = checked_host(url)
        self._http = httpx.Client(
            timeout=timeout,
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            trust_env=not is_loopback(host),  # a proxy does not reach this machine's own servers
        )

    def get(self, path: str) -> Any:
        """The JSON that the server has at `path`; raises ServerError."""
        return self._call("GET", path, None)

    def post(
        self, path: str, body: Any = None, *, retries: int | None = None, plain: bool = False, tokens: float = 0
    ) -> Any:
        """The JSON with which it answers `body`, {} where it answers nothing.

        All tries carry one `X-Request-Id`, so that a server can tell a repetition.

        Args:
            path: below the URL; may be empty.
            body: is sent as JSON; None for no body.
            retries: instead of the client's, 0 where a call may not come twice.
            plain: the answer is a text, not JSON.
            tokens: that the call counts for in the client's pace.

        Raises:
            ServerError: it failed for good; has the URL, the tries, and what was answered last.
        """
        return self._call("POST", path, body, retries, plain, tokens)

    def together(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make calls, `concurrency` of them at a time; when one fails, those that have not begun are not made.

        Raises:
            Exception: what the first call that failed raised.
        """
        with ThreadPoolExecutor(max(1, min(self.concurrency, len(calls)))) as pool:
            futures = [pool.submit(call) for call in calls]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # also when this thread is interrupted
                for future in futures:
                    future.cancel()
            for future in futures:
                if not future.cancelled() and (error := future.exception()) is not None:
                    raise error
            return [future.result() for future in futures]

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(
        self,
        method: str,
        path: str,
        body: Any,
        retries: int | None = None,
        plain: bool = False,
        tokens: float = 0,
    ) -> Any:
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8")
        headers = {"X-Request-Id": uuid.uuid4().hex, "Content-Type": "application/json"}
        once = partial(self._once, method, f"{self.url}{path}", content, headers, plain)
        tries = 1 + (self.retries if retries is None else retries)
        for number in range(1, tries + 1):
            if self._pace is not None:
                self._pace.wait(tokens)
            try:
                return once()
            except _Failed as failed:
                if number == tries or not failed.again:
                    of = f" (try {number} of {tries})" if tries > 1 else ""
                    message = self._without_key(f"{method} {self.url}{path}: {failed}{of}")
                    raise ServerError(message, failed.status, failed.answer) from failed.__cause__
                pause = 0.5 * 2 ** (number - 1) * random.uniform(1.0, 1.25)  # not all clients at the same moment
                self._rest(min(LONGEST_WAIT, max(pause, failed.after)), failed.status)
        raise AssertionError("unreachable")

    def _rest(self, seconds: float, status: int | None) -> None:
        """Between two tries."""
        if self._pace is None:
            time.sleep(seconds)
        elif status in CROWDED:
            self._pace.hold(seconds)
        else:
            self._pace.pause(seconds)

    def _once(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], plain: bool) -> Any:
        import httpx

        deadline = time.monotonic() + self.timeout
        try:
            with self._http.stream(method, url, content=content, headers=dict(headers)) as response:
                text = self._without_key(self._read(response, deadline))
        except httpx.TimeoutException as error:
            raise _Failed(f"no answer within {self.timeout:g} s", again=True) from error
        except httpx.HTTPError as error:
            raise _Failed(f"{type(error).__name__}: {error}", again=True) from error
        status, start = response.status_code, text[:SHOWN]
        if status >= 300:
            after = seconds_in(response.headers.get("Retry-After", ""))
            raise _Failed(f"status {status}: {start or 'no text'}", status in PASSING, status, text, after)
        if plain:
            return text
        if not text.strip():
            return {}
        try:
            return json.loads(text)
        except ValueError as error:
            raise _Failed(f"the answer is not JSON: {start!r}", True, status, text) from error

    def _read(self, response: Any, deadline: float) -> str:
        """The text of an answer, as long as it comes in time and is not too large."""
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > LARGEST_ANSWER:
                raise _Failed(f"the answer is larger than {LARGEST_ANSWER >> 20} MiB", again=False)
            if time.monotonic() > deadline:
                raise _Failed(f"the answer was not complete within {self.timeout:g} s", again=True)
        return b"".join(parts).decode("utf-8", errors="replace")

    def _without_key(self, text: str) -> str:
        """A server may repeat the key in its answer."""
        return text.replace(self._key, "***") if self._key else text
