# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One run, read from the files that it left: finished, killed, or of LlamaFactory's own trainers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from ..arguments.resume import RECIPE_FILE, RUN_FILE, newest_complete

STATE, LOG = "trainer_state.json", "trainer_log.jsonl"
NOT_METRICS = ("step", "epoch", "total_flos", "train_loss")
BESIDE = ("throughput", "vram_allocated", "vram_reserved")  # of LlamaFactory's own log alone
LEAST_SECONDS = 10  # between two points of the time a step takes: the log has whole seconds

Line = dict[str, Any]


class Run:
    """One run.

    Args:
        folder: as it was given: output folder of the run, or one of its checkpoints.
        log: the lines that it logged, in order.
        source: name of the file that they are from.
    """

    def __init__(self, folder: str, log: list[Line], source: str = STATE) -> None:
        self.folder, self.log, self.source = Path(folder), log, source
        self.name = folder

    @property
    def last(self) -> dict[str, float]:
        """The last value of each metric."""
        values = {key: value for line in self.log for key, value in line.items() if _is_number(value)}
        return {key: value for key, value in values.items() if key not in NOT_METRICS and not is_speed(key)}

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        """Steps and values of a metric."""
        return self._curves.get(metric, ([], []))

    @property
    def metrics(self) -> list[str]:
        """All that was logged with a step, in the order in which it first was."""
        return list(self._curves)

    @cached_property
    def _curves(self) -> dict[str, tuple[list[float], list[float]]]:
        found: dict[str, tuple[list[float], list[float]]] = {}
        for line in self.log:
            if _is_number(step := line.get("step")):
                for key, value in line.items():
                    if _is_number(value) and key not in NOT_METRICS:
                        steps, values = found.setdefault(key, ([], []))
                        steps.append(step)
                        values.append(value)
        return found

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Keys of the recipe, then all else that the numbers depend on; empty for runs without a record."""
        return {**self.recipe, **{key: value for key, value in self._record.items() if key not in self.recipe}}

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe with what the command line added; empty if it is not there."""
        import yaml

        try:
            found = yaml.safe_load(self.file(RECIPE_FILE).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def _record(self) -> dict[str, Any]:
        try:
            found = json.loads(self.file(RUN_FILE).read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

    def file(self, name: str) -> Path:
        """A file of the run: in its folder, in its newest checkpoint, or of a checkpoint in the run's folder."""
        newest = newest_complete(str(self.folder))
        places = [self.folder, *([newest] if newest else [])]
        places += [self.folder.absolute().parent] if self.folder.absolute().name.startswith("checkpoint-") else []
        return next((place / name for place in places if (place / name).is_file()), self.folder / name)


def read_run(folder: str) -> Run:
    """Read what a run logged: at its end, else up to its newest checkpoint, else LlamaFactory's log.

    Raises:
        ValueError: there is no log of a run, or it cannot be read.
    """
    state = _state(Path(folder))
    beside = list(_own_log(Path(folder, LOG)))
    if state is not None:
        run = Run(folder, _history(state), str(state.relative_to(folder)))
    elif beside:
        run = Run(folder, _written_once(_renamed(line) for line in beside), LOG)
    else:
        raise ValueError(f"{Path(folder, STATE)}: {_missing(Path(folder))}")
    run.log += _written_once(_timed(beside))
    return run


def read_runs(folders: list[str]) -> list[Run]:
    """Read several, each once; all that cannot be read are named together."""
    runs, wrong = [], []
    for folder in dict.fromkeys(folders):
        try:
            runs.append(read_run(folder))
        except (ValueError, OSError) as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("\n  ".join(wrong))
    return runs


def shorten_names(runs: list[Run]) -> None:
    """Call runs by the last part of their folders where these differ."""
    parts = [run.folder.absolute().name for run in runs]
    if len(set(parts)) == len(parts):
        for run, part in zip(runs, parts, strict=True):
            run.name = part or run.name


def _state(folder: Path) -> Path | None:
    """Where a run's lines are: in its folder, or in a checkpoint of a run that went on from there and was killed."""
    own, newest = folder / STATE, newest_complete(str(folder))
    if newest is None or not own.is_file():
        return own if own.is_file() else newest and newest / STATE
    later = int(newest.name.partition("-")[2]) > max((line.get("step", 0) for line in _history(own)), default=0)
    # checkpoints of a longer run may have been there before
    return newest / STATE if later and (newest / STATE).stat().st_mtime >= own.stat().st_mtime else own


def _history(path: Path) -> list[Line]:
    try:
        log = json.loads(path.read_text(encoding="utf-8"))["log_history"]
        if not all(isinstance(line, dict) for line in log):
            raise TypeError("log_history has lines that are no objects")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no state of a run ({type(error).__name__}: {error})") from error
    return list(log)


def _missing(folder: Path) -> str:
    what = "No such file or directory"
    if folder.is_dir():
        what += f", nor a checkpoint with one, nor a {LOG} that has lines"
    around = folder.absolute().parent
    beside = sorted({found.parent.name for name in (STATE, LOG) for found in around.glob(f"*/{name}")})
    near = get_close_matches(folder.name, beside, n=3, cutoff=0.3)
    return what + (f"; runs beside it: {', '.join(near or beside[:5])}" if beside else "")


def _own_log(path: Path) -> Iterator[Line]:
    """Lines of LlamaFactory's log; a killed run leaves half a line."""
    if not path.is_file():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and _is_number(line.get("current_steps")):
            yield line


def _written_once(lines: Iterable[Line]) -> list[Line]:
    """Lines with steps, without those that a resumed run has written again; LlamaFactory goes on in the same file."""
    kept: list[Line] = []
    for line in lines:
        at = len(kept)
        while at and kept[at - 1]["step"] >= line["step"]:
            at -= 1
        goes_back = any(old["step"] > line["step"] for old in kept[at:])
        # one step may have lines of training and of evaluation
        kept[at:] = [] if goes_back else [old for old in kept[at:] if old.keys() != line.keys()]
        kept.append(line)
    return kept


def _renamed(line: Line) -> Line:
    """A line of LlamaFactory's log with the Trainer's names."""
    names = {"current_steps": "step", "lr": "learning_rate", "accuracy": "rewards/accuracies"}
    dropped = ("total_steps", "percentage", *BESIDE)
    return {names.get(key, key): value for key, value in line.items() if key not in dropped}


def _timed(lines: list[Line]) -> Iterator[Line]:
    """What only LlamaFactory's log has: throughput, memory, and the seconds that a step takes."""
    before = (0.0, 0.0)
    for line in lines:
        found = {key: line[key] for key in BESIDE if _is_number(line.get(key))}
        step, seconds = line["current_steps"], _seconds(line.get("elapsed_time"))
        if step <= before[0] or seconds < before[1]:  # a resumed run counts anew
            before = (step, seconds)
        elif seconds - before[1] >= LEAST_SECONDS:
            found["seconds_per_step"] = (seconds - before[1]) / (step - before[0])
            before = (step, seconds)
        if found:
            yield {"step": step, **found}


def _seconds(text: Any) -> float:
    found = re.fullmatch(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)", text) if isinstance(text, str) else None
    if found is None:
        return 0.0
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def is_speed(metric: str) -> bool:
    """Whether a metric is of the computer, not of the model."""
    return metric.endswith(("_runtime", "_per_second"))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
