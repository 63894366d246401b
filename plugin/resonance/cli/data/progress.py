# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How far an import is, for whoever waits for it."""

from __future__ import annotations

import sys
import time
from typing import Any

from ...datafiles.text import count
from ...importers.work import Tally

PAUSE = 10.0  # seconds between two lines where there is no terminal


class Progress:
    """Print to standard error how many rows were read and what came out: a bar on a terminal, else a line at times.

    Call it after each row with (tally, part of the source that is done, 0 if not known).
    """

    def __init__(self) -> None:
        self.bar: Any = None
        self.terminal = sys.stderr.isatty()
        self.last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __call__(self, tally: Tally, done: float) -> None:
        if self.terminal:
            if self.bar is None:
                from tqdm import tqdm

                shape = "{n_fmt}{unit} [{elapsed}, {rate_fmt}{postfix}]"
                self.bar = tqdm(initial=tally.rows_in - 1, unit=" rows", file=sys.stderr, bar_format=shape)
            self.bar.set_postfix_str(state(tally, done), refresh=False)
            self.bar.update()
        elif (now := time.monotonic()) - self.last >= PAUSE:
            self.last = now
            print(f"{count(tally.rows_in, 'row')} read, {state(tally, done)}", file=sys.stderr, flush=True)

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()


def state(tally: Tally, done: float) -> str:
    """How far the source is, and what came out."""
    part = f"{done:.0%} of the source, " if done else ""  # the hub does not say
    sums = ((tally.unit, tally.skipped), ("row", tally.rows_skipped))
    left = [count(sum(reasons.values()), unit) for unit, reasons in sums if reasons]
    out = f", {' and '.join(left)} left out" * bool(left)
    return f"{part}{count(tally.rows_out, tally.unit)} written{out}"
