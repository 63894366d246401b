# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tables about runs: the last value of each metric, every value that was logged, and where recipes differ."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..datafiles.write import replacing
from .metrics import in_order, meaning
from .run import Run

CSV = "curves.csv"
# In this order; the others follow.
FIRST = ("stage", "pref_loss", "pref_beta", "ppo_variant", "learning_rate", "dataset", "eval_dataset",
         "model_name_or_path", "num_train_epochs", "max_steps", "seed")  # fmt: skip
PLACES = ("output_dir", "overwrite_output_dir", "run_name", "logging_dir")
ABSENT = "-"


def last_values(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """The last value of each metric: its name, a cell a run, what it means."""
    last = [run.last for run in runs]
    return [
        (key, *(number(values[key]) if key in values else ABSENT for values in last), meaning(key))
        for key in in_order(key for values in last for key in values)
    ]


def number(value: float | None) -> str:
    """A number for people."""
    return ABSENT if value is None else f"{value:.4g}"


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    """Write a line for each that was logged, whole or not at all."""
    names = list(dict.fromkeys(key for run in runs for line in run.log for key in line if key not in ("step", "run")))
    with replacing(path) as file:
        writer = csv.DictWriter(file, ["run", "step", *names], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**line, "run": run.name} for run in runs for line in run.log)


def differences(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Keys in which the recipes of runs differ: the name, a cell a run. Runs without a record are left out of it."""
    if len([run for run in runs if run.settings]) < 2:
        return []
    keys = list(dict.fromkeys([*FIRST, *(key for run in runs for key in run.settings)]))
    rows = []
    for key in keys:
        values = [run.settings.get(key) for run in runs if run.settings]
        if key not in PLACES and any(value != values[0] for value in values):
            rows.append((key, *(_cell(run.settings.get(key)) if run.settings else "unknown" for run in runs)))
    return rows


def _cell(value: Any) -> str:
    if isinstance(value, dict) and value.keys() == {"name", "content"}:  # a model: its name and its fingerprint
        return f"{value['name']} ({value['content']})"
    return ABSENT if value is None else str(value)
