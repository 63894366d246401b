# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`llamafactory-cli` in forks of one process that has imported what every run imports, which is most of a short run.

`Parent` is for tests; this file run as a script is that process: `forked.py FD`, FD a connection's file descriptor. A
fork runs the console script itself, in the environment that the process was started with.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, NoReturn

# pyarrow's allocator, which stops its thread before a fork and starts it again in both processes
FORKS_SAFELY = {"jemalloc_bg_thd"}
HERE = sys.path[0]  # this file's folder where it is the script; imports may insert others before it


class Job(NamedTuple):
    """What one fork runs; its output and errors go to `log`. More than one rank: each runs it in a fork of its own."""

    argv: list[str]
    cwd: str
    log: str
    ranks: int = 1


class Fork:
    """A run in progress, with the methods of `subprocess.Popen` that tests use."""

    returncode: int | None = None

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid, self._connection = pid, connection

    def poll(self) -> int | None:
        return self._receive(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal; raise `TimeoutExpired` if it takes longer than `timeout`."""
        if (code := self._receive(timeout)) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _receive(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._connection.poll(timeout):
            self.returncode = self._connection.recv()
        return self.returncode


class Parent:
    """The process that forks, one run at a time."""

    def __init__(self, env: dict[str, str], script: Path = Path(__file__)) -> None:
        """Start it.

        Args:
            env: the environment of every run.
            script: what it executes, for runs that need more than imports beforehand; it ends with `main()`.
        """
        self._connection, theirs = Pipe()
        self._fork: Fork | None = None
        command = [sys.executable, str(script), str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()

    def start(self, argv: list[str], cwd: Path, log: Path, ranks: int = 1) -> Fork:
        """Fork, and run the Python script `argv[0]` with the other arguments."""
        if self._fork and self._fork.poll() is None:
            raise RuntimeError(f"one run at a time: process {self._fork.pid} is still running")
        self._connection.send(Job(argv, str(cwd), str(log), ranks))
        self._fork = Fork(self._connection.recv(), self._connection)
        return self._fork

    def close(self) -> None:
        """End it; it waits for a run that is in progress."""
        self._connection.close()
        self._process.wait()


def serve(connection: Connection) -> None:
    """Answer each job with the fork's process id and then its exit code."""
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            run(job)
        connection.send(pid)
        connection.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def run(job: Job) -> NoReturn:
    """Run a job to its end, but for taking the interpreter apart, which takes as long as a short run."""
    end_with_parent()
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(job.cwd)
    if job.ranks > 1:
        become_ranks(job.ranks)
    sys.argv[:] = job.argv
    sys.path[sys.path.index(HERE)] = str(Path(job.argv[0]).parent)
    code = 1
    try:
        runpy.run_path(job.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_with_parent() -> None:
    """A run that hangs must not outlive the tests, nor a rank the others."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def become_ranks(count: int) -> None:
    """Like torchrun on one machine: return in `count` forks, and leave when all have ended or one has failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    os.environ |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    for rank in range(count):
        if os.fork() == 0:
            end_with_parent()
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            return
    for _ in range(count):
        if code := os.waitstatus_to_exitcode(os.wait()[1]):
            os._exit(code if code > 0 else 1)
    os._exit(0)


def must_be_alone() -> None:
    """Raise if a thread was started, which a fork would be without, and whose locks it might keep for ever."""
    tasks = Path("/proc/self/task").glob("*/comm")
    names = sorted(task.read_text().strip() for task in tasks if task.parent.name != str(os.getpid()))
    if threading.active_count() > 1 or set(names) - FORKS_SAFELY:
        raise RuntimeError(f"the imports of LlamaFactory started threads: {threading.enumerate()}, {names}")


def import_what_runs_import() -> None:
    """Import what `llamafactory-cli train` imports on the way to its first step, most of it lazily."""
    import llamafactory.cli
    import llamafactory.launcher
    import llamafactory.train.dpo.trainer
    import llamafactory.train.tuner  # noqa: F401
    from transformers import AutoModelForImageTextToText
    from transformers.models.qwen2 import tokenization_qwen2  # noqa: F401
    from transformers.models.qwen2_vl import modeling_qwen2_vl, processing_qwen2_vl  # noqa: F401

    AutoModelForImageTextToText._model_mapping.keys()  # imports every family of it
    if find_spec("deepspeed"):
        import deepspeed  # noqa: F401  by accelerate, in every run


def main() -> None:
    import_what_runs_import()
    must_be_alone()
    gc.freeze()  # no collection of a fork copies the pages of what was imported
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
