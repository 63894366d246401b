# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Loading a checkpoint's weights back into the model that is being trained.

Transformers saves many vision-language models under the names of older versions (`visual.*` for
`model.visual.*`), and `from_pretrained` maps them back. The Trainer's own resume does not: it calls
`load_state_dict(strict=False)` on the old names, logs a warning, and goes on with the weights the run started from.
Seen with transformers 5.5.4 and 5.6.0 and Qwen2-VL, full fine-tuning.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .weights import complete_weights


def saved_names(checkpoint: str) -> set[str] | None:
    """Names of the weights in a checkpoint's safetensors files, or None if it has no such files of a whole model."""
    index, single = Path(checkpoint, SAFE_WEIGHTS_INDEX_NAME), Path(checkpoint, SAFE_WEIGHTS_NAME)
    if index.is_file():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    if single.is_file():
        with safe_open(single, framework="pt") as file:
            return set(file.keys())
    return None


def load_renamed(model: Any, checkpoint: str) -> bool:
    """Load a checkpoint whose names differ from the model's; False, with nothing done, if the names agree.

    The weights pass through float32, which holds every lower precision exactly, and are copied into the model's own
    parameters, dtypes unchanged. Raises ValueError by name if the checkpoint lacks a weight.
    """
    names = saved_names(checkpoint) if isinstance(model, PreTrainedModel) else None
    if names is None or names <= set(model.state_dict()):
        return False

    with complete_weights(allow_missing=False):
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32)
    model.load_state_dict(saved.state_dict(), strict=True)
    return True
