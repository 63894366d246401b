# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A run that takes no step: one that was finished before, or one that found no row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from llamafactory.extras import logging
from transformers import TrainerCallback

from .context import RunIsOver

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
_RESULTS = "train_results.json"  # LlamaFactory writes it once the model is saved


def _has_results(output_dir: str) -> bool:
    """Whether the first rank sees the results of a finished run; other nodes may have disks of their own."""
    seen: bool = gather_object([Path(output_dir, _RESULTS).is_file()])[0]
    return seen


class StepWatch(TrainerCallback):
    """Ends a run that takes no step before it writes zeros over results, or the untouched model as its result."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look whether there is anything left to train.

        Raises:
            RunIsOver: the run was finished before. One that was killed while it saved its model goes on to do so.
        """
        if 0 < state.max_steps <= state.global_step and _has_results(args.output_dir):
            logger.warning_rank0(
                f"{args.output_dir} is finished: its checkpoint is at step {state.global_step} of {state.max_steps}. "
                "Nothing was trained, and nothing is written. To train on, raise `num_train_epochs` or `max_steps`; "
                "to start anew, take another `output_dir`."
            )
            raise RunIsOver

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the number of steps.

        Only a stream can come to this: how many of its rows are left out is not known before it has been read.

        Raises:
            ValueError: if there was none although the run asked for some.
        """
        if state.global_step == 0 and state.max_steps > 0:
            raise ValueError(
                "The stream gave not one row, so nothing was trained and nothing is saved. The warnings above and "
                f"skipped_rows.jsonl in {args.output_dir} say which rows were left out, and why."
            )
