# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The client of servers, against one that misbehaves on demand."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resonance.wire import Client, Pace, ServerError, Stopped, client, data_uri
from resonance.wire.pace import seconds_in


class Servant(ThreadingHTTPServer):
    """Answers with what is in `answers`, the last one for ever: (status, body, headers), or a function of a handler"""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: list[Any] = [(200, b'{"ok": true}', {})]
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.now, self.most = 0, 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Servant

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers)))
            answer = self.server.answers[0] if len(self.server.answers) == 1 else self.server.answers.pop(0)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            if callable(answer):
                answer(self)
            else:
                self.answer(*answer)
        finally:
            with self.server.lock:
                self.server.now -= 1

    do_GET = do_POST  # noqa: N815

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servant]:
    monkeypatch.setattr(client.random, "uniform", lambda *_: 0.02)  # pauses of 10 ms
    with Servant() as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def test_a_failure_in_passing_is_tried_again_under_one_id(server: Servant) -> None:
    server.answers = [(500, b"busy", {}), (200, b"<html>", {}), (429, b"", {"Retry-After": "0"}), (200, b"[1]", {})]
    with Client(server.url) as found:
        assert found.post("/score", {"a": "é"}) == [1]
    assert [path for path, _ in server.seen] == ["/score"] * 4
    assert len({headers["X-Request-Id"] for _, headers in server.seen}) == 1


def test_an_answer_that_stays_is_not_asked_for_twice(server: Servant) -> None:
    server.answers = [(400, b"no such model", {})]
    with (
        Client(server.url) as found,
        pytest.raises(ServerError, match=r"/x: status 400: no such model") as error,
    ):
        found.post("/x")
    assert (len(server.seen), error.value.status, error.value.answer) == (1, 400, "no such model")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((503, b"", {}), r"status 503: no text \(try 2 of 2\)"),
        ((200, b"garbage", {}), r"the answer is not JSON: 'garbage' \(try 2 of 2\)"),
        (lambda handler: time.sleep(0.6), r"no answer within 0.3 s \(try 2 of 2\)"),
        (drip, r"the answer was not complete within 0.3 s \(try 2 of 2\)"),
        (lambda handler: handler.connection.close(), r"\(try 2 of 2\)"),
    ],
)
def test_tries_are_bounded(server: Servant, answer: Any, message: str) -> None:
    server.answers = [answer]
    with Client(server.url, timeout=0.3, retries=1) as found, pytest.raises(ServerError, match=message):
        found.post("", {})
    assert len(server.seen) == 2


def test_a_call_that_may_not_come_twice(server: Servant) -> None:
    server.answers = [(500, b"", {})]
    with Client(server.url) as found, pytest.raises(ServerError, match="status 500: no text$"):
        found.post("/pause", retries=0)
    assert len(server.seen) == 1


def test_an_answer_that_is_a_text(server: Servant) -> None:
    server.answers = [(200, b"Success: loaded.", {})]
    with Client(server.url) as found:
        assert found.post("/load", {}, plain=True) == "Success: loaded."


def test_too_large_an_answer(server: Servant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST_ANSWER", 2**20)
    server.answers = [(200, b"0" * (2**20 + 1), {})]
    with Client(server.url) as found, pytest.raises(ServerError, match="larger than 1 MiB"):
        found.get("/")
    assert len(server.seen) == 1


def test_the_longest_pause_is_ours(server: Servant, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(client.time, "sleep", pauses.append)
    server.answers = [(429, b"", {"Retry-After": "3600"}), (503, b"", {"Retry-After": "2"}), (200, b"1", {})]
    with Client(server.url) as found:
        assert found.get("/") == 1
    assert pauses == [30.0, 2.0]


def test_no_more_calls_at_a_time_than_told(server: Servant) -> None:
    three = threading.Barrier(3)

    def slow(handler: Handler) -> None:
        three.wait(20)
        handler.answer(200, b"1", {})

    server.answers = [slow]
    with Client(server.url, concurrency=3) as found:
        assert found.together([lambda: found.post("/")] * 12) == [1] * 12
    assert server.most == 3


def test_the_first_failure_ends_the_others(server: Servant) -> None:
    server.answers = [(404, b"", {})]
    with Client(server.url, concurrency=2) as found, pytest.raises(ServerError, match="404"):
        found.together([lambda: found.post("/")] * 50)
    assert len(server.seen) < 50


def test_the_key_is_sent_and_never_shown(server: Servant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    server.answers = [(401, b"wrong key s3cret", {})]
    with Client(server.url, key_env="JUDGE_KEY") as found, pytest.raises(ServerError) as error:
        found.post("/")
    assert server.seen[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in f"{error.value} {error.value.answer} {error.value!r} {vars(found)['url']}"
    assert "***" in str(error.value)
    with pytest.raises(ValueError, match="OTHER_KEY.*is not set"):
        Client(server.url, key_env="OTHER_KEY")


def test_a_key_that_a_server_repeats_is_in_no_answer(server: Servant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    server.answers = [(200, b'{"you": "s3cret"}', {})]
    with Client(server.url, key_env="JUDGE_KEY") as found:
        assert found.post("/") == {"you": "***"}


def test_a_pace_counts_every_try_and_tokens(server: Servant) -> None:
    server.answers = [(500, b"", {}), (200, b"1", {})]
    start = time.monotonic()
    with Client(server.url, pace=Pace(calls=1200)) as found:  # 50 ms apart
        found.post("/")
        found.post("/")
    assert len(server.seen) == 3 and time.monotonic() - start >= 0.1
    start, pace = time.monotonic(), Pace(calls=6000, tokens=60_000)
    with Client(server.url, pace=pace) as found:
        found.post("/", tokens=200)  # a fifth of a second of tokens
        found.post("/", tokens=1)
    assert time.monotonic() - start >= 0.2


def test_all_calls_wait_when_a_server_is_crowded(server: Servant) -> None:
    pace, ends = Pace(), []
    server.answers = [(429, b"", {"Retry-After": "1"}), (200, b"1", {})]

    def call() -> None:
        found.post("/")
        ends.append(time.monotonic())

    with Client(server.url, pace=pace, concurrency=2) as found:
        start = time.monotonic()
        first = threading.Thread(target=call)
        first.start()
        while not server.seen:
            time.sleep(0.01)
        time.sleep(0.1)
        call()
        first.join()
    assert min(ends) - start >= 1.0, "also one that was not refused itself"
    pace.stop()
    with Client(server.url, pace=pace) as found, pytest.raises(Stopped):
        found.post("/")


def test_a_date_to_wait_for() -> None:
    from email.utils import formatdate

    assert 8 < seconds_in(formatdate(time.time() + 10, usegmt=True)) <= 10
    assert (seconds_in("7"), seconds_in(""), seconds_in("soon"), seconds_in("-1")) == (7.0, 0.0, 0.0, 0.0)
    assert seconds_in(formatdate(time.time() - 100, usegmt=True)) == 0.0


@pytest.mark.parametrize("url", ["http://me:hush@host/", "http://host/?key=hush", "http://host/#hush"])
def test_no_secret_in_a_url(url: str) -> None:
    with pytest.raises(ValueError, match="environment variable") as error:
        Client(url)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("url", ["http://me:hush/@host/", "me:hush@host/v1", "ftp://hush@host", "http://me:hu sh@[h"])
def test_no_secret_of_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as error:
        Client(url)
    assert "hu" not in str(error.value)


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "", "http://"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Client(url)


def test_images_travel_byte_for_byte_or_as_png(tmp_path: Path) -> None:
    picture = Image.new("RGB", (3, 2), "red")
    for suffix, mime in (("jpg", "jpeg"), ("png", "png"), ("bmp", "png")):
        picture.save(path := tmp_path / f"a.{suffix}")
        head, _, content = data_uri(str(path)).partition(",")
        assert head == f"data:image/{mime};base64"
        if suffix != "bmp":
            assert base64.b64decode(content) == path.read_bytes()
        assert data_uri({"path": str(path), "bytes": None}) == data_uri({"bytes": path.read_bytes()}) == data_uri(path)
        opened = Image.open(io.BytesIO(base64.b64decode(content)))
        assert opened.size == (3, 2)
    assert data_uri(picture).startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("suffix", "mode"), [("jpg", "RGB"), ("jpg", "CMYK"), ("png", "P"), ("png", "LA"), ("webp", "RGB")]
)
def test_large_images_are_made_smaller(tmp_path: Path, suffix: str, mode: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # on its side
    Image.effect_noise((80, 40), 90).convert(mode).save(path := tmp_path / f"a.{suffix}", exif=turned)
    assert data_uri(path, 80) == data_uri(path), "within the limit it travels as it is"
    for image in (path, path.read_bytes(), Image.open(path)):
        head, _, content = data_uri(image, 20).partition(",")
        small = Image.open(io.BytesIO(base64.b64decode(content)))
        assert small.size == (20, 10) and head == f"data:image/{'jpeg' if suffix == 'jpg' else 'png'};base64"
        assert suffix != "jpg" or small.getexif()[0x0112] == 6
