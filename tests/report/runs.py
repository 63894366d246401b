# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Made-up runs for tests of reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resonance.report.run import Run


def run_of(*lines: dict[str, Any], folder: str = "run", **curves: list[float]) -> Run:
    """A run with these log lines, then one line a step with the values of `curves`; ``__`` stands for ``/``."""
    names = {name: name.replace("__", "/") for name in curves}
    made = [
        {"step": at + 1, **{names[name]: values[at] for name, values in curves.items() if at < len(values)}}
        for at in range(max(map(len, curves.values()), default=0))
    ]
    return Run(folder, [*lines, *made])


def write_run(folder: Path, log: list[dict[str, Any]], **settings: Any) -> Path:
    """The files of a run: its state, and where there are settings its record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}), encoding="utf-8")
    if settings:
        (folder / "resonance_run.json").write_text(json.dumps({"settings": settings}), encoding="utf-8")
    return folder


def preference_log(steps: int = 40) -> list[dict[str, Any]]:
    """A healthy preference run."""
    log: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        done = step / steps
        log.append({
            "step": step, "epoch": done, "loss": 0.69 - 0.4 * done, "rewards/accuracies": 0.5 + 0.4 * done,
            "rewards/margins": done, "logps/chosen": -50 - done, "logps/rejected": -50 - 9 * done,
            "grad_norm": 1.0, "learning_rate": 1e-6 * (1 - done), "w_qual": 0.8, "w_perf": 0.6 - 0.3 * done,
            "my/own": 3.0,
        })  # fmt: skip
        if step % 10 == 0:
            log.append({"step": step, "eval_loss": 0.69 - 0.3 * done, "eval_rewards/accuracies": 0.5 + 0.3 * done})
    log.append({"step": steps, "train_runtime": 60.0, "train_loss": 0.5})
    return log
