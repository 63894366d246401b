# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Warns of what the log lines of a policy's training are a sign of."""

from __future__ import annotations

from typing import Any

from llamafactory.extras import logging
from transformers import TrainerCallback

from ..report.symptoms import Line, new_symptoms

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


class SymptomWatch(TrainerCallback):
    """Warns of them as they appear in the log. A resumed run has the log lines of the run before."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Line | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:  # of training
            for message in new_symptoms(state.log_history):
                logger.warning_rank0(f"Step {state.global_step}: {message}")
