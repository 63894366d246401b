# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is there for people at a terminal alone: how far a command is, and a little colour."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from ..datafiles.read import Reading

PATIENCE = 2.0  # seconds that pass without a word
PAUSE = 0.2  # seconds between two states
COLOURS = {"ok": "32", "warn": "33", "FAIL": "31"}
MARK = re.compile(r"^( +)(ok|warn|FAIL)(?=  )", re.MULTILINE)
CLEAR = "\r\033[K"


def coloured(stream: TextIO) -> bool:
    """Whether colours are wanted: as NO_COLOR and FORCE_COLOR have it, else on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str) -> str:
    """A report for standard output, with the marks at the start of its lines in colour."""
    if not coloured(sys.stdout):
        return text
    return MARK.sub(lambda mark: f"{mark[1]}\033[{COLOURS[mark[2]]}m{mark[2]}\033[0m", text)


@contextmanager
def waiting(what: str, silent: bool = False) -> Iterator[None]:
    """Name what takes a while and cannot be counted, on a terminal; the line goes when it is over.

    Args:
        what: is being done.
        silent: for a machine that reads the result.
    """
    shown = not silent and sys.stderr.isatty()
    if shown:
        print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print(CLEAR, end="", file=sys.stderr, flush=True)


@contextmanager
def watching_rows(silent: bool = False) -> Iterator[None]:
    """Print how far the file is that is being read, whoever reads it, on a terminal and after a while.

    Args:
        silent: for a machine that reads the result.
    """
    from ..datafiles.read import WATCH

    if silent or not sys.stderr.isatty():
        yield
        return
    progress = Rows()
    token = WATCH.set(progress)
    try:
        yield
    finally:
        WATCH.reset(token)
        progress.close()


class Rows:
    """The state of the file that is being read: rows, part, rate, time left."""

    def __init__(self) -> None:
        self.next = time.monotonic() + PATIENCE
        self.shown = False

    def __call__(self, reader: Reading, rows: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        start = time.monotonic()
        for read, row in enumerate(rows, 1):
            yield row
            if (now := time.monotonic()) >= self.next:
                self.next, self.shown = now + PAUSE, True
                width = shutil.get_terminal_size().columns - 1
                line = state(reader.path.name, read, reader.done, now - start)
                print(f"{CLEAR}{line[:width]}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print(CLEAR, end="", file=sys.stderr, flush=True)


def state(name: str, rows: int, done: float, seconds: float) -> str:
    """How far a file is.

    Args:
        name: of the file.
        rows: that were read.
        done: the part of the file that they are; 0 if it is not known.
        seconds: since its first row.
    """
    rate = f", {rows / seconds:,.0f} rows/s" if seconds else ""
    left = ""
    if done:
        minutes, rest = divmod(round(seconds / done - seconds), 60)
        left = f", {minutes}:{rest:02} left"
    return f"{name}: {rows:,} rows{f', {done:.0%}' if done else ''}{rate}{left}"
