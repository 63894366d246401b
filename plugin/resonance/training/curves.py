# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`plot_loss: true` for preference runs: a PNG for every metric that was logged.

Draws nothing itself: LlamaFactory's `plot_loss` reads trainer_state.json.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from llamafactory.extras.ploting import plot_loss as llamafactory_plot_loss
from matplotlib import pyplot as plt
from transformers.trainer import TRAINER_STATE_NAME

# what the Trainer logs beside metrics
_NOT_CURVES = ("epoch", "step", "total_flos")
_NOT_CURVE_ENDINGS = ("_runtime", "_per_second")


def curves(output_dir: str, keys: list[str]) -> list[str]:
    """Metrics to draw: of `keys` those that were logged, then all that were logged more than once."""
    history = json.loads(Path(output_dir, TRAINER_STATE_NAME).read_text(encoding="utf-8"))["log_history"]
    points = Counter(name for entry in history for name in entry)
    asked = [key for key in keys if points[key]]
    others = [n for n, k in points.items() if k > 1 and n not in _NOT_CURVES and not n.endswith(_NOT_CURVE_ENDINGS)]
    return list(dict.fromkeys(asked + others))


def plot_loss(save_dictionary: str, keys: list[str] | None = None) -> None:
    """LlamaFactory's curves for `keys` and for every other metric of the run; no empty ones."""
    for name in curves(save_dictionary, keys or ["loss"]):
        llamafactory_plot_loss(save_dictionary, keys=[name])
        plt.close("all")  # upstream leaves every figure open
