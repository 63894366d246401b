# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a parameter may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real


@dataclass(frozen=True)
class Range:
    """The numbers a parameter may take; always finite.

    Attributes:
        low, high: bounds; infinite means unbounded.
        low_open, high_open: True when the bound itself is not allowed.
        note: why, shown at the end of a message.
        tensor: True when a tensor with one element is accepted too.
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    note: str = ""
    tensor: bool = False

    def __str__(self) -> str:
        low, high = f"{self.low:g}", f"{self.high:g}"
        if math.isinf(self.low) and math.isinf(self.high):
            text = "a finite number"
        elif math.isinf(self.high):
            text = f"a finite number {'>' if self.low_open else '>='} {low}"
        elif math.isinf(self.low):
            text = f"a finite number {'<' if self.high_open else '<='} {high}"
        else:
            text = f"a number {low} {'<' if self.low_open else '<='} x {'<' if self.high_open else '<='} {high}"
        return f"{text} ({self.note})" if self.note else text

    def allows(self, value: object) -> bool:
        """True when `value` is a number (or, with `tensor`, a one-element tensor) inside the range."""
        if numel := getattr(value, "numel", None):
            # The value of a tensor is not read: on an accelerator that would stop the step to wait for it.
            return self.tensor and numel() == 1
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        number = float(value)
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        return math.isfinite(number) and above and below


FINITE = Range()
POSITIVE = Range(low=0.0, low_open=True)
NON_NEGATIVE = Range(low=0.0)
UP_TO_HALF = Range(low=0.0, high=0.5)
