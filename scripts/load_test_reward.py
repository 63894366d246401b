# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Load on a reward server: requests a second, latency, and the server's memory and open files over time, as JSON.

python scripts/load_test_reward.py --clients 200 --seconds 60

It starts `resonance serve-reward exact`, and its clients send completions with a picture as fast as they are answered.
Each answer is compared with the right one, score by score.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

from resonance.serve.metrics import process_values

FORMS = 64  # requests that differ


@dataclass
class Tally:
    """What clients have seen.

    Attributes:
        seconds: of each answered request.
        statuses: how often each came, or the name of an exception.
        wrong: answers that are not the right scores.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: int = 0


def requests(items: int, pixels: int) -> list[tuple[bytes, dict[str, float]]]:
    """Bodies, and the right score of each id.

    Args:
        items: completions of a request, which share a picture.
        pixels: width and height of the picture.
    """
    made = []
    for number in range(FORMS):
        Image.effect_noise((pixels, pixels), 40).save(buffer := io.BytesIO(), "PNG")
        uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        right = {f"{number}-{at}": float(at % 2) for at in range(items)}
        body = {
            "version": 1,
            "items": [
                {
                    "id": name,
                    "messages": [{"role": "user", "content": "<image>Which digit is this?"}],
                    "images": [{"data": uri}],
                    "completion": f"{number}" if score else "no",
                    "columns": {"answer": str(number)},
                }
                for name, score in right.items()
            ],
        }
        made.append((json.dumps(body).encode(), right))
    return made


async def client(url: str, forms: list[Any], start: int, end: float, tally: Tally) -> None:
    """Send one request after the other until the time is over, on a connection of its own."""
    async with httpx.AsyncClient(timeout=120, trust_env=False, verify=False) as http:
        await send(url, http, forms, start, end, tally)


async def send(url: str, http: httpx.AsyncClient, forms: list[Any], start: int, end: float, tally: Tally) -> None:
    """Requests one after the other, and what comes."""
    at = start
    while time.monotonic() < end:
        body, right = forms[at % len(forms)]
        at += 1
        began = time.monotonic()
        try:
            response = await http.post(f"{url}/v1/score", content=body)
        except httpx.HTTPError as error:
            tally.statuses[type(error).__name__] += 1
            continue
        tally.statuses[str(response.status_code)] += 1
        tally.seconds.append(time.monotonic() - began)
        if response.status_code == 200:
            scores = response.json()["scores"]
            tally.wrong += {each["id"]: each["score"] for each in scores} != right or len(scores) != len(right)


async def load(url: str, pid: int, args: argparse.Namespace) -> tuple[Tally, list[dict[str, float]]]:
    """All clients at once; the server's memory and files every few seconds."""
    forms, tally, over_time = requests(args.items, args.pixels), Tally(), list[dict[str, float]]()
    start = time.monotonic()
    end = start + args.seconds
    clients = [client(url, forms, number, end, tally) for number in range(args.clients)]
    tasks = [asyncio.create_task(each) for each in clients]
    while time.monotonic() < end:
        await asyncio.sleep(max(1.0, args.seconds / 60))
        values = process_values(pid)
        memory = values["process_resident_memory_bytes"] / 2**20
        files = values["process_open_fds"]
        over_time.append({"s": round(time.monotonic() - start), "rss_mib": round(memory, 1), "fds": files})
    await asyncio.gather(*tasks)
    return tally, over_time


def cpu_seconds(pid: int) -> float:
    """Of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def summary(
    args: argparse.Namespace, tally: Tally, over_time: list[dict[str, float]], wall: float, cpu: float
) -> dict[str, Any]:
    """What is printed."""
    cuts = [1000 * value for value in statistics.quantiles(tally.seconds, n=100)]
    good = tally.statuses["200"]
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "clients": args.clients,
        "items_a_request": args.items,
        "picture_pixels": args.pixels,
        "seconds": args.seconds,
        "answers": dict(tally.statuses),
        "wrong_scores": tally.wrong,
        "requests_a_second": round(good / wall, 1),
        "completions_a_second": round(good * args.items / wall, 1),
        "server_cpu_ms_a_request": round(1000 * cpu / len(tally.seconds), 2),
        "latency_ms": {
            "p50": round(cuts[49], 1),
            "p95": round(cuts[94], 1),
            "p99": round(cuts[98], 1),
            "max": round(1000 * max(tally.seconds), 1),
        },
        "server_over_time": over_time,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--items", type=int, default=4, help="completions of a request")
    parser.add_argument("--pixels", type=int, default=64, help="width and height of the picture of a request")
    parser.add_argument("--out", help="a file for the JSON")
    args = parser.parse_args()
    command = [sys.executable, "-m", "resonance", "serve-reward", "exact", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().split()[-1]
            start, before = time.monotonic(), cpu_seconds(server.pid)
            tally, over_time = asyncio.run(load(url, server.pid, args))
            wall, cpu = time.monotonic() - start, cpu_seconds(server.pid) - before
        finally:
            server.send_signal(signal.SIGTERM)
    found = json.dumps(summary(args, tally, over_time, wall, cpu) | {"server_ended_with": server.returncode}, indent=2)
    print(found)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write(f"{found}\n")


if __name__ == "__main__":
    main()
