# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How far an import is, for whoever waits for it."""

from __future__ import annotations

import sys
import time
from typing import Any

from ...importers.work import Tally

PAUSE = 10.0  # seconds between two lines where there is no terminal


class Progress:
    """Tells on standard error how many rows were read and what came out: a bar on a terminal, else a line at times.

    Call it after each row with (tally, part of the source that is done, 0 if not known).
    """

    def __init__(self) -> None:
        self.bar: Any = None
        self.terminal = sys.stderr.isatty()
        self.told = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __call__(self, tally: Tally, done: float) -> None:
        if self.terminal:
            self._move_bar(tally, done)
        elif (now := time.monotonic()) - self.told >= PAUSE:
            self.told = now
            print(f"{count(tally.rows_in, 'rows')} read, {state(tally, done)}", file=sys.stderr, flush=True)

    def _move_bar(self, tally: Tally, done: float) -> None:
        if self.bar is None:
            from tqdm import tqdm

            shape = "{n_fmt}{unit} [{elapsed}, {rate_fmt}{postfix}]"
            self.bar = tqdm(initial=tally.rows_in - 1, unit=" rows", file=sys.stderr, bar_format=shape)
        self.bar.set_postfix_str(state(tally, done), refresh=False)
        self.bar.update()

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()


def state(tally: Tally, done: float) -> str:
    """How far the source is, and what came out."""
    part = f"{done:.0%} of the source, " if done else ""  # the hub does not say
    sums = ((unit_of(tally), tally.skipped), ("rows", tally.rows_skipped))
    left = [count(sum(reasons.values()), unit) for unit, reasons in sums if reasons]
    out = f", {' and '.join(left)} left out" * bool(left)
    return f"{part}{count(tally.rows_out, unit_of(tally))} written{out}"


def unit_of(tally: Tally) -> str:
    """What a written row is; a row that was read can give several."""
    return "pairs" if "chosen" in tally.columns else "examples"


def count(number: int, units: str) -> str:
    return f"{number:,} {units.removesuffix('s') if number == 1 else units}"
