# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Judges and reward servers as real processes: those that misbehave, many clients at once, an end in order."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import SCRIPTS
from resonance.rewards import Completions, make_rewards, score
from resonance.wire import Client, ServerError, client

LOGGING = """
import pathlib, time

def logged(completions):
    with open("seen.txt", "a") as file:
        file.write("".join(f"{text}\\n" for text in completions))
    return [float(text) for text in completions]

def slow(completions):
    pathlib.Path("began").touch()
    time.sleep(1.5)
    return [1.0] * len(completions)
"""


@contextmanager
def process(*command: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, and the last word of its first line."""
    started = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert started.stdout is not None
    try:
        line = started.stdout.readline()
        assert line, started.communicate()
        yield started, line.split()[-1]
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


@pytest.fixture
def reward_server(tmp_path: Path) -> Callable[..., Any]:
    """Starts `resonance serve-reward` on a module `my_rewards`."""
    (tmp_path / "my_rewards.py").write_text(LOGGING)

    def start(target: str, *options: str, **env: str) -> Any:
        return process(
            str(SCRIPTS / "resonance"), "serve-reward", target, "--port", "0", *options, cwd=tmp_path, **env
        )

    return start


@pytest.fixture(scope="module")
def bad_judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    script = Path(__file__).with_name("bad_judge.py")
    with process(sys.executable, str(script), cwd=tmp_path_factory.mktemp("judge")) as (_, port):
        yield f"http://127.0.0.1:{port}"


def batch(count: int) -> Completions:
    texts = [str(number) for number in range(count)]
    return Completions(texts, ["?"] * count, [[]] * count, messages=[[{"role": "user", "content": "?"}]] * count)


def judged(url: str, count: int = 3, **keys: Any) -> list[float | None]:
    return score(make_rewards([{"url": url, "retries": 1, **keys}]), batch(count)).totals


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("500", r"status 500: .*out of memory.*\(try 2 of 2\)\. Nothing of this batch was used"),
        ("garbage", r"the answer is not JSON: .*\(try 2 of 2\)"),
        ("slow", r"the answer was not complete within 0.5 s \(try 2 of 2\)"),
        ("never", r"no answer within 0.5 s \(try 2 of 2\)"),
        ("hangs_up", r"RemoteProtocolError|ReadError"),
        ("half", r"RemoteProtocolError: peer closed"),
        ("version", "that is version 2, and version 1 is expected"),
        ("length", "it was asked for 3 and has no score for id 0"),
        ("huge", "the answer is larger than 256 MiB"),
    ],
)
def test_a_judge_that_misbehaves_is_an_error_in_time(bad_judge, monkeypatch, mode, message):
    monkeypatch.setattr(client.random, "uniform", lambda *_: 0.02)
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as error:
        judged(f"{bad_judge}/{mode}", timeout=60 if mode == "huge" else 0.5)
    assert str(error.value).startswith("rewards[0] (127.0.0.1:") and time.monotonic() - start < 30
    assert judged(f"{bad_judge}/good") == [1.0] * 3, "it judges others meanwhile"


def test_200_clients_at_once_nothing_lost_and_nothing_twice(reward_server, tmp_path):
    with reward_server("my_rewards:logged") as (_, url):
        assert judged(url, 1000, concurrency=200, batch_size=3, retries=0) == [float(n) for n in range(1000)]
        with Client(url) as asked:
            assert asked.get("/health")["status"] == "ok"
    seen = (tmp_path / "seen.txt").read_text().split()
    assert sorted(map(int, seen)) == list(range(1000))


def test_a_server_without_room_makes_its_clients_wait(reward_server, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "LONGEST_WAIT", 0.05)
    with reward_server("my_rewards:logged", "--max-requests", "2") as (_, url):
        assert judged(url, 100, concurrency=50, batch_size=1, retries=200) == [float(n) for n in range(100)]
    assert len((tmp_path / "seen.txt").read_text().split()) == 100, "what was refused was not scored"


def test_a_request_that_is_too_large_is_refused_with_what_to_do(reward_server):
    with reward_server("my_rewards:logged", "--max-body-mib", "0.05") as (_, url):
        with pytest.raises(ValueError, match=r"status 413: .*give a smaller `batch_size`, or raise"):
            judged(url, 1000, batch_size=1000)
        assert judged(url, 100, batch_size=50) == [float(n) for n in range(100)]
        with pytest.raises(ServerError, match="status 413"), Client(url, retries=0) as asked:
            asked.post("/v1/score", "x" * 40_000_000)
        assert judged(url, 1) == [0.0]


def test_the_key_of_a_server(reward_server, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "s3cret-of-the-judge")
    with reward_server("my_rewards:logged", "--key-env", "JUDGE_KEY") as (server, url):
        assert judged(url, key_env="JUDGE_KEY") == [0.0, 1.0, 2.0]
        with pytest.raises(ValueError, match="status 401: .*the key is missing or wrong"):
            make_rewards([{"url": url}])[0].check()
        server.send_signal(signal.SIGTERM)
        assert "s3cret" not in server.communicate()[0]


def test_requests_in_flight_are_answered_before_the_end(reward_server, tmp_path):
    with reward_server("my_rewards:slow") as (server, url):
        found: list[Any] = []
        asking = threading.Thread(target=lambda: found.append(judged(url, 1, retries=0)))
        asking.start()
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        asking.join()
        assert found == [[1.0]]
        assert server.wait(10) == -signal.SIGTERM
        assert server.stdout is not None and server.stdout.read() == "", "no traceback"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exat"], "Unknown reward 'exat' (nearest: exact"),
        (["my_rewards:lgged"], "has no 'lgged' (nearest: logged"),
        (["exact", "--set", "extract=("], "extract"),
        (["exact", "--set", "answer"], "--set answer: write KEY=VALUE"),
        (["exact", "--key-env", "NO_SUCH_KEY"], "the environment variable NO_SUCH_KEY"),
        (["exact", "--media-dir", "nowhere"], "--media-dir nowhere is no folder"),
        (["exact", "--max-requests", "0"], "--max-requests must be more than 0"),
        (["exact", "--host", "203.0.113.1"], "--host 203.0.113.1 --port 0 cannot be listened at"),
    ],
)
def test_what_cannot_be_served_is_told_at_once(tmp_path, monkeypatch, capsys, arguments, message):
    from resonance.cli.main import main

    (tmp_path / "my_rewards.py").write_text(LOGGING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    assert main(["serve-reward", *arguments, "--port", "0"]) == 2
    told = capsys.readouterr().err
    assert message in told and "Next: resonance serve-reward --help" in told


def test_it_listens_to_this_machine_alone_unless_told(reward_server):
    with reward_server("exact") as (_, url):
        port = int(re.search(r":(\d+)$", url)[1])  # type: ignore[index]
        assert url.startswith("http://127.0.0.1:")
        with socket.socket() as other:
            other.settimeout(2)
            with pytest.raises(OSError):
                other.connect(("127.0.0.2", port))
