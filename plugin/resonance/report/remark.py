# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A remark about a run, and what those that make remarks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from .run import Run

Severity = Literal["problem", "warning", "note"]
ORDER: tuple[Severity, ...] = ("problem", "warning", "note")
FEW = 3  # values that are averaged at the beginning and at the end of a curve


class Remark(NamedTuple):
    """One of them.

    Attributes:
        severity: how bad it is.
        title: what is wrong, in a few words.
        seen: the numbers and the step.
        why: why it matters.
        cure: what to try.
    """

    severity: Severity
    title: str
    seen: str
    why: str
    cure: str


def finite(run: Run, metric: str) -> tuple[list[float], list[float]]:
    """A curve without values that are not finite."""
    points = [(step, value) for step, value in zip(*run.curve(metric), strict=True) if math.isfinite(value)]
    return [step for step, _ in points], [value for _, value in points]


def mean(values: Sequence[float]) -> float:
    """Their mean; there is one at least."""
    return sum(values) / len(values)


def ends(values: Sequence[float]) -> tuple[float, float] | None:
    """The means at the beginning and at the end; None for a curve too short to have both."""
    return (mean(values[:FEW]), mean(values[-FEW:])) if len(values) >= 2 * FEW else None
