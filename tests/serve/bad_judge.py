# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A process that judges as badly as the first part of the path asks for: /garbage/v1/score. It prints its port."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class BadJudge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        scores = [{"id": item["id"], "score": 1.0} for item in body["items"]]
        answer = json.dumps({"version": 1, "scores": scores}).encode()
        mode = self.path.split("/")[1]
        if mode == "500":
            self.answer(b"out of memory", status=500)
        elif mode == "garbage":
            self.answer(b"\x00\xff<html>")
        elif mode == "slow":
            self.answer(answer, pause=0.1)
        elif mode == "never":
            time.sleep(60)
        elif mode == "hangs_up":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif mode == "half":
            self.send_response(200)
            self.send_header("Content-Length", str(2 * len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            self.connection.shutdown(socket.SHUT_RDWR)
        elif mode == "version":
            self.answer(json.dumps({"version": 2, "scores": scores}).encode())
        elif mode == "length":
            self.answer(json.dumps({"version": 1, "scores": scores[1:]}).encode())
        elif mode == "huge":
            self.send_response(200)
            self.send_header("Content-Length", str(300 * 2**20))
            self.end_headers()
            for _ in range(300):
                self.wfile.write(b" " * 2**20)
        else:
            self.answer(answer)

    def answer(self, content: bytes, pause: float = 0.0, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for at in range(0, len(content), 20):
            self.wfile.write(content[at : at + 20])
            time.sleep(pause)

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # it or the client has hung up
            super().handle()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), BadJudge) as server:
        server.daemon_threads = True
        print(server.server_port, flush=True)
        server.serve_forever()
