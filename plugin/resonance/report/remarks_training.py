# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an experienced reader would notice in the log of any training."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

from .metrics import split_of
from .remark import FEW, Remark, finite, mean
from .run import Run

RISE = 0.05  # of the lowest evaluation loss
SPIKE, SPIKE_LINES = 10.0, 10  # times the median; log lines that have a median worth the name


def not_finite(run: Run) -> Remark | None:
    """Any logged loss or gradient norm is not finite."""
    found: dict[str, list[float]] = {}
    for key in run.metrics:
        if split_of(key)[0] in ("loss", "grad_norm"):
            bad = [step for step, value in zip(*run.curve(key), strict=True) if not math.isfinite(value)]
            found |= {key: bad} if bad else {}
    if not found:
        return None
    seen = "; ".join(f"{key}: {len(steps)} times, first at step {steps[0]:g}" for key, steps in found.items())
    return Remark(
        "problem",
        "Numbers that are not finite",
        seen,
        "One such step spoils the weights, unless it was skipped; what comes after may be worth nothing.",
        "Use bf16 instead of fp16, lower learning_rate, set max_grad_norm, and look for empty answers in the data "
        "(resonance data check NAME).",
    )


def overfitted(run: Run) -> Remark | None:
    """The evaluation loss is RISE above its lowest value, while the training loss went on down."""
    found = []
    trained, losses = finite(run, "loss")
    for key in (key for key in run.metrics if split_of(key)[0] == "loss" and split_of(key)[1] != "train"):
        steps, values = finite(run, key)
        if len(values) < FEW:
            continue
        best = values.index(min(values))
        before = [loss for step, loss in zip(trained, losses, strict=True) if step <= steps[best]]
        after = [loss for step, loss in zip(trained, losses, strict=True) if step > steps[best]]
        fell = before and after and mean(after[-FEW:]) < mean(before[-FEW:])
        if fell and values[-1] - values[best] > RISE * abs(values[best]):
            found.append(
                f"{key}: {values[best]:.4g} at step {steps[best]:g}, {values[-1]:.4g} at step {steps[-1]:g}; "
                f"loss: {mean(before[-FEW:]):.4g}, then {mean(after[-FEW:]):.4g}"
            )
    if not found:
        return None
    return Remark(
        "warning",
        "Evaluation gets worse while training gets better",
        "; ".join(found),
        "From there on the model learns the training pairs by heart.",
        "Keep the best checkpoint (load_best_model_at_end: true), train for fewer epochs or with a lower "
        "learning_rate, or get more data.",
    )


def still_warming_up(run: Run) -> Remark | None:
    """The learning rate rises up to the last log line."""
    steps, values = finite(run, "learning_rate")
    rising = len(values) >= FEW and all(later > earlier for earlier, later in zip(values, values[1:], strict=False))
    if not rising:
        return None
    return Remark(
        "warning",
        "The learning rate never left its warm-up",
        f"learning_rate: {values[0]:.3g} at step {steps[0]:g}, {values[-1]:.3g} at step {steps[-1]:g}, still rising",
        "The run took all its steps with less than the learning rate that was asked for.",
        "Lower warmup_ratio or warmup_steps, or train for more steps.",
    )


def spikes(run: Run) -> Remark | None:
    """The gradient norm is SPIKE times its median or more on some log line."""
    steps, values = finite(run, "grad_norm")
    usual = median(values) if len(values) >= SPIKE_LINES else 0.0
    high = [(step, value) for step, value in zip(steps, values, strict=True) if usual and value >= SPIKE * usual]
    if not high:
        return None
    step, value = max(high, key=lambda each: each[1])
    return Remark(
        "warning",
        "Spikes of the gradient",
        f"grad_norm: {value:.3g} at step {step:g}, the median is {usual:.3g}; {len(high)} of {len(values)} log lines",
        "One batch moves the model as far as many others do, or is clipped down to noise.",
        "Set max_grad_norm: 1.0, lower learning_rate or warm up for longer; look at the rows of that step.",
    )


OF_TRAINING: tuple[Callable[[Run], Remark | None], ...] = (not_finite, overfitted, still_warming_up, spikes)
