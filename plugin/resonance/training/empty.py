# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A run that took no step is not a finished one."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class StepWatch(TrainerCallback):
    """Stops a run at its end if it has not trained, before the untouched model is saved as its result.

    Only a stream can come to this: how many of its rows are left out is not known before it has been read.
    """

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the number of steps.

        Raises:
            ValueError: if there was none although the run asked for some.
        """
        if state.global_step == 0 and state.max_steps > 0:
            raise ValueError(
                "The stream gave not one row, so nothing was trained and nothing is saved. The warnings above and "
                f"skipped_rows.jsonl in {args.output_dir} say which rows were left out, and why."
            )
