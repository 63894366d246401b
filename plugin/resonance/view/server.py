# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The HTTP server of the page. It answers the browser on this machine, and pages of other sites not at all."""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .pictures import NoPictureError
from .session import Session

FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
LARGEST = 64 << 10  # bytes of a request's body
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Answer = tuple[int, str, bytes]
"""Status, type and body of an answer."""


class Server(ThreadingHTTPServer):
    """Serves one session.

    Args:
        session: what is shown.
        host: address to listen at.
        port: 0 for one that is free.
    """

    daemon_threads = True

    def __init__(self, session: Session, host: str, port: int) -> None:
        self.session, self.lock = session, Lock()
        self.loopback = is_loopback(host)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.port = self.server_address[1]
        shown = "localhost" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/"

    def server_bind(self) -> None:
        """Bind, and ask no name server what this machine is called, as an HTTPServer would."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that has gone; show anything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def is_loopback(host: str) -> bool:
    """Whether an address is that of this machine for itself alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "resonance"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for what goes wrong."""

    def _answer(self, method: str) -> None:
        try:
            status, kind, body = self._refused(method) or self._found(method)
        except NoPictureError as error:
            status, kind, body = _json({"error": str(error)}, 404)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            status, kind, body = _json({"error": str(error)}, 400)
        except OSError as error:
            status, kind, body = _json({"error": str(error)}, 500)
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _refused(self, method: str) -> Answer | None:
        """An answer to a page of another site, whose name may lead here, or who sends flags of its own."""
        given = self.headers.get("Host", "")
        host = urlsplit(f"//{given}").hostname or ""
        if self.server.loopback and not is_loopback(host):
            return _json({"error": f"{given} is no name of this machine; use {self.server.url}"}, 403)
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != given:
            return _json({"error": f"asked by another page, {origin}"}, 403)
        if method == "POST" and self.headers.get("Content-Type") != "application/json":
            return _json({"error": "only application/json is taken"}, 415)
        return None

    def _found(self, method: str) -> Answer:
        asked = urlsplit(self.path)
        query = dict(parse_qsl(asked.query))
        if method == "POST":
            length = int(self.headers.get("Content-Length", 0))
            if not 0 <= length <= LARGEST:
                raise ValueError(f"a body of {length} bytes; {LARGEST} are allowed")
            with self.server.lock:
                return _json(self._changed(asked.path, json.loads(self.rfile.read(length))))
        if asked.path in FILES:
            name, kind = FILES[asked.path]
            return 200, f"{kind}; charset=utf-8", Path(__file__).with_name(name).read_bytes()
        session = self.server.session
        with self.server.lock:
            if asked.path == "/picture":
                body = session.picture(int(query["row"]), int(query["place"]))
                return 200, "image/png" if body.startswith(b"\x89PNG") else "image/jpeg", body
            if asked.path == "/rows":
                return _json(session.select(query))
            if asked.path == "/row":
                return _json(session.row(int(query["row"])))
            if asked.path == "/jump":
                return _json(session.jump(int(query["number"]), query.get("file", "")))
            if asked.path == "/set":
                return _json(session.about())
        return _json({"error": f"there is no {asked.path}"}, 404)

    def _changed(self, path: str, body: dict[str, Any]) -> Any:
        if path == "/flag":
            return self.server.session.flag(int(body["row"]), body["flag"], str(body.get("note") or ""))
        if path == "/forget":
            return self.server.session.forget()
        raise ValueError(f"there is no {path}")


def _json(value: Any, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(value).encode()
