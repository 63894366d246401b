# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: a picture of scores and margins."""

from __future__ import annotations

from pathlib import Path

from .scores import Scores
from .write import replacing

BINS = 40


def plot(path: Path, scores: Scores, columns: tuple[str, str], thresholds: list[float]) -> None:
    """Draw a PNG, whole or not at all: both scores on the left with `thresholds`, their margins on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    low, high = scores.limits
    limits = (low, high) if low < high else (low - 0.5, high + 0.5)
    for values, name in zip((scores.chosen, scores.rejected), columns, strict=True):
        left.hist(values, bins=BINS, range=limits, alpha=0.55, label=name)
    for threshold in thresholds:
        left.axvline(threshold, color="black", linestyle="--", linewidth=1)
    left.set(title=f"scores of {len(scores.chosen)} pairs (dashed: tau_good)", xlabel="score", ylabel="pairs")
    left.legend()
    right.hist(scores.margins, bins=BINS, color="tab:green")
    right.axvline(0, color="black", linewidth=1)
    right.set(title="chosen - rejected", xlabel="margin")
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)
