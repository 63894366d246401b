# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The running reward baseline of BCO, kept in trainer_state.json so that a resumed run continues the same numbers."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..losses import RunningMean


class BaselineCallback(TrainerCallback, ExportableState):
    """Holds a `RunningMean`; Transformers writes `state()` into every checkpoint's trainer_state.json."""

    def __init__(self) -> None:
        self.running = RunningMean()

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": self.running.state_dict()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        saved = state.stateful_callbacks.get(type(self).__name__) if state.global_step else None
        if saved:  # the Trainer restores callbacks by itself only under `restore_callback_states_from_checkpoint`
            self.running.load_state_dict(saved["attributes"])
