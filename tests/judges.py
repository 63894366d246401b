# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A server in a thread, for tests of what calls judges: a function answers it, and it keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# From method, path and body to what is answered: JSON, or a status, bytes and, if need be, headers.
Answering = Callable[[str, str, Any], Any]


class JudgeServer(ThreadingHTTPServer):
    """Attributes: answer: what answers. seen: method, path, body and headers of each call. url: of the server."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.seen: list[tuple[str, str, Any, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def bodies(self, path: str) -> list[Any]:
        return [body for _, asked, body, _ in self.seen if asked == path]


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(text) if text else None
        self.server.seen.append((self.command, self.path, body, dict(self.headers)))
        answer = self.server.answer(self.command, self.path, body)
        status, content, *headers = answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode())
        self.send_response(status)
        for name, value in headers[0].items() if headers else ():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(answer: Answering) -> Iterator[JudgeServer]:
    """A server for the time of the block."""
    with JudgeServer(answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def scored(score: Callable[[dict[str, Any]], Any], version: int = 1) -> Answering:
    """Answers our own API, with what `score` makes of each item."""
    return lambda method, path, body: {
        "version": version,
        "scores": [{"id": item["id"], "score": score(item)} for item in body["items"]],
    }
