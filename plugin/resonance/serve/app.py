# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The routes of the reward server, its key and its limits."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from ..rewards import Completions, Scores
from ..rewards.spec import InputError
from .batcher import Batcher
from .metrics import Metrics
from .read import Refused, drop_body, read_body, read_items, read_texts
from .schema import VERSION

logger = logging.getLogger(__name__)

INLINE = 2**18  # bytes of a body that is read at once; a thread costs more than it
Work = Callable[[Request], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Limits:
    """What a server takes upon itself.

    Attributes:
        body: bytes of a request.
        requests: at a time, waiting ones too; further ones are told to come again.
        timeout: seconds that a request may take.
        batch_size: completions of several requests that are scored together.
        batch_wait: seconds that a request waits for others to be scored with.
    """

    body: int
    requests: int
    timeout: float
    batch_size: int
    batch_wait: float


class RewardServer:
    """Scores completions over HTTP.

    Args:
        name: of the reward, for `/health`.
        score: completions, in a thread.
        limits: of the server.
        key: what clients must send as `Authorization: Bearer KEY`; empty for none.
        media_dir: the only folder from which images are read by path.
    """

    def __init__(
        self, name: str, score: Callable[[Completions], Scores], limits: Limits, key: str, media_dir: Path | None
    ) -> None:
        self.name, self.limits, self.media_dir = name, limits, media_dir
        self._key = f"Bearer {key}".encode() if key else b""
        self.metrics = Metrics()
        self.batcher = Batcher(score, limits.batch_size, limits.batch_wait, self.metrics)

    @property
    def app(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI(lifespan=self._lifespan, docs_url=None, redoc_url=None, openapi_url=None)
        routes = {"/v1/score": self._score, "/v1/score/evaluation": self._evaluate, "/": self._evaluate}
        for path, work in routes.items():
            app.add_api_route(path, self._guarded(path, work), methods=["POST"], response_model=None)
        app.add_api_route("/health", self._health, methods=["GET"], response_model=None)
        app.add_api_route("/metrics", self._metrics, methods=["GET"], response_model=None)
        for status in (404, 405):
            app.add_exception_handler(status, self._unknown)
        return app

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self.batcher.start()
        yield
        self.batcher.end()

    def _guarded(self, path: str, work: Work) -> Callable[[Request], Awaitable[JSONResponse]]:
        """A route that takes a key, has limits, answers errors as JSON and is counted."""

        async def route(request: Request) -> JSONResponse:
            start = time.monotonic()
            try:
                async with asyncio.timeout(self.limits.timeout):
                    await self._admit(request)
                    self.metrics.in_flight += 1
                    try:
                        response = JSONResponse(await work(request))
                    finally:
                        self.metrics.in_flight -= 1
            except Refused as refused:
                response = _error(refused.status, str(refused), refused.wait)
            except ClientDisconnect:
                response = _error(499, "the client is gone")
            except TimeoutError:
                response = _error(504, f"no score within {self.limits.timeout:g} s")
            except Exception as error:
                response = _error(422 if isinstance(error.__cause__, InputError) else 500, str(error))
                if not isinstance(error, ValueError):
                    logger.exception("a request failed")
            self.metrics.answered(path, response.status_code, time.monotonic() - start)
            return response

        return route

    async def _admit(self, request: Request) -> None:
        """Refused where the key is missing or wrong, or there is no room."""
        refused = None
        if self._key and not hmac.compare_digest(self._key, request.headers.get("authorization", "").encode()):
            refused = Refused(401, "the key is missing or wrong; send it as Authorization: Bearer KEY")
        elif self.metrics.in_flight >= self.limits.requests:
            refused = Refused(429, f"{self.limits.requests} requests are being answered; come again", wait=1)
        if refused is not None:
            await drop_body(request, self.limits.body)
            raise refused

    async def _score(self, request: Request) -> dict[str, Any]:
        body = await read_body(request, self.limits.body)
        if len(body) > INLINE:
            ids, batch = await asyncio.to_thread(read_items, body, self.media_dir)
        else:
            ids, batch = read_items(body, self.media_dir)
        rows = await self.batcher.submit(batch)
        scores = [
            {"id": name, "score": score, **({"reason": reason} if reason else {})}
            for name, (score, reason) in zip(ids, rows, strict=True)
        ]
        return {"version": VERSION, "scores": scores}

    async def _evaluate(self, request: Request) -> dict[str, Any]:
        batch = read_texts(await read_body(request, self.limits.body))
        scores = [score for score, _ in await self.batcher.submit(batch)]
        if None in scores:
            raise Refused(422, f"message {scores.index(None)} has no score, for which this form has no place")
        return {"model": self.name, "scores": scores}

    async def _health(self) -> JSONResponse:
        since = self.batcher.since
        stuck = since is not None and time.monotonic() - since > self.limits.timeout
        state = {"status": "stuck" if stuck else "ok", "version": VERSION, "reward": self.name}
        return JSONResponse(state, 503 if stuck else 200)

    async def _metrics(self) -> PlainTextResponse:
        return PlainTextResponse(self.metrics.text({"requests_waiting": self.batcher.waiting}))

    async def _unknown(self, request: Request, error: Exception) -> JSONResponse:
        status = getattr(error, "status_code", 404)
        return _error(status, "there are POST /v1/score, POST /v1/score/evaluation, GET /health and GET /metrics")


def _error(status: int, message: str, wait: int | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, {} if wait is None else {"Retry-After": str(wait)})
