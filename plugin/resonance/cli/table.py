# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A table of several commands."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from unicodedata import combining, east_asian_width

from ..datafiles.text import printable


def print_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print rows in columns: wrapped to the width of a terminal, a line each where they go elsewhere."""
    lines = [[printable(cell) for cell in row] for row in (header, *rows)]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        # the first column has names to be typed, which are never cut
        columns = [Column(head, no_wrap=not place, overflow="fold") for place, head in enumerate(lines[0])]
        table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for row in lines[1:]:
            table.add_row(*map(Text, row))
        Console(width=shutil.get_terminal_size().columns).print(table)
        return
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        print("  ".join(cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True)).rstrip())


def cells(text: str) -> int:
    """Columns of a terminal that a text takes: Chinese characters two. Without rich, which `ls` must not need."""
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)
