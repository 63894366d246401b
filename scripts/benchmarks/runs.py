# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Runs of `llamafactory-cli train`, one after another: what each logged, and the CPU seconds that it took.

Each is a fork of this process, which imports LlamaFactory once. One thread, no GPU, no network.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


class Finished(NamedTuple):
    """A run that has ended: its log lines, and CPU seconds with start-up, as if it had been the only one."""

    history: list[dict[str, Any]]
    cpu_s: float

    def values(self, name: str) -> list[float]:
        """Of every log line that has it; a run that only evaluates logs as `trainer_state.json` does."""
        return [entry[name] for entry in self.history if name in entry]


def train(recipe: Path, keys: Mapping[str, Any], out: Path) -> Finished:
    """Run a recipe in a fork.

    Args:
        recipe: the file.
        keys: what is given beside it.
        out: the output folder; beside it is a log, as long as the run has not ended well.

    Raises:
        RuntimeError: the run failed; with the end of its log.
    """
    out = out.absolute()
    log = out.with_name(f"{out.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    given = ["llamafactory-cli", "train", str(recipe), *(f"{key}={value}" for key, value in keys.items())]
    start_up = _import()
    began = _children()
    child = multiprocessing.get_context("fork").Process(target=_run, args=([*given, f"output_dir={out}"], log))
    child.start()
    child.join()
    if child.exitcode:
        end = log.read_text(encoding="utf-8", errors="replace")[-4000:]
        raise RuntimeError(f"{' '.join(given)} failed:\n{end}")
    log.unlink()
    return Finished(_history(out), round(start_up + _children() - began, 1))


def _import() -> float:
    """Import what runs import; the CPU seconds that this process has taken to get here."""
    if "llamafactory" not in sys.modules:
        os.environ |= ENVIRONMENT
    import llamafactory.train.tuner  # noqa: F401

    return time.process_time()


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(argv: list[str], log: Path) -> None:
    """What a fork does, in the folder that the paths of our recipes begin from."""
    os.chdir(ROOT)
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv[:] = argv
    from llamafactory.cli import main

    main()


def _history(out: Path) -> list[dict[str, Any]]:
    """The log lines of a training; of an evaluation alone its results."""
    state = out / "trainer_state.json"
    if state.is_file():
        return list(json.loads(state.read_text(encoding="utf-8"))["log_history"])
    return [json.loads((out / "all_results.json").read_text(encoding="utf-8"))]
