# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How long the phases of training a policy take, in seconds of this rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback


@dataclass
class Timer:
    """Seconds by phase since they were last taken.

    Attributes:
        seconds: by phase.
        total: of all phases since the beginning.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    total: float = 0.0

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            passed = time.monotonic() - began
            self.seconds[phase] = self.seconds.get(phase, 0.0) + passed
            self.total += passed

    def take(self) -> dict[str, float]:
        """What was measured; starts anew."""
        found, self.seconds = self.seconds, {}
        return found


class UpdateTimer(TrainerCallback):
    """Measures the optimizer steps on a rollout, without the phases that another timer measures.

    Args:
        timer: of the other phases.
        used_up: whether the last step was the last on its rollout.
        log: takes the seconds of a rollout's steps.
    """

    def __init__(self, timer: Timer, used_up: Callable[[], bool], log: Callable[[dict[str, float]], None]) -> None:
        self.timer, self.used_up, self.log = timer, used_up, log
        self._began, self._seconds = 0.0, 0.0

    def _now(self) -> float:
        return time.monotonic() - self.timer.total

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = self.used_up()
        if last and args.device.type == "cuda":
            torch.cuda.synchronize(args.device)  # the steps are done, not only on their way to the device
        self._seconds += self._now() - self._began
        if last:
            self.log({"time/update": self._seconds})
            self._seconds = 0.0
