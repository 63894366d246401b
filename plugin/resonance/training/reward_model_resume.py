# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's trainer of reward models, which can go on from its own checkpoints.

They hold the language model under its own names and the value head in a file beside it. The Trainer's own resume looks
for the names of the two together, finds none, and goes on with the weights that the run started from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamafactory.extras.constants import V_HEAD_SAFE_WEIGHTS_NAME
from llamafactory.train.rm.trainer import PairwiseTrainer
from safetensors.torch import load_file
from typing_extensions import override

from .resume import load_renamed

_PREFIX = "v_head."


class ResumedPairwiseTrainer(PairwiseTrainer):
    """Trains as LlamaFactory's does, and resumes with the weights of the checkpoint."""

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        whole = self.model if model is None else model
        path = Path(resume_from_checkpoint, V_HEAD_SAFE_WEIGHTS_NAME)
        if not path.is_file():
            raise ValueError(
                f"resume_from_checkpoint: {path} is missing: the checkpoint is of no reward model, or its run was "
                "killed while it was being written. Give another one, or start anew with another output_dir."
            )
        inner = whole.pretrained_model
        if not load_renamed(inner, resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, inner)
        head = {name.removeprefix(_PREFIX): value for name, value in load_file(path).items()}
        whole.v_head.load_state_dict(head)
