# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data show`."""

import argparse
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ...datafiles.columns import COLUMNS
from ...datafiles.find import entry_of, find
from ...datafiles.info import INFO
from ...datafiles.read import read_rows
from ...datafiles.sample import Table
from ...datafiles.show import LINES, fields, table
from . import common
from .advice import import_command

EXAMPLES = (
    "resonance data show my_pairs",
    "resonance data show my_pairs.json --row 120 --n 1 --full",
    "resonance data show my_pairs --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_data(parser, "data", metavar="FILE|NAME", help=f"a data file, or a name in {INFO}")
    parser.add_argument("--n", type=int, default=3, metavar="N", help="how many rows")
    parser.add_argument("--row", type=int, default=0, metavar="K", help="the first of them, counted from 0")
    parser.add_argument("--full", action="store_true", help=f"whole texts, not their first {LINES} lines")
    parser.add_argument(
        "--media-dir", type=Path, metavar="DIR", help="where relative paths start (default: the dataset's folder)"
    )
    common.add_info(parser)
    common.add_json(parser, "a list of objects with file, row, and the row's columns as they are")


def run(args: argparse.Namespace) -> int:
    """Show some rows: prompt, answers, scores, and the images as paths and sizes."""
    if args.n < 1 or args.row < 0:
        raise common.WrongCall("--n is 1 or more, --row 0 or more.")
    if args.json:
        return as_json(args)
    width = shutil.get_terminal_size((100, 24)).columns
    shown = 0
    data = find(args.data, common.info_path(args))
    entry, remark = data.entry, ""
    try:
        entry = entry_of(data)
    except ValueError as error:  # then the columns as they are
        following = import_command(data.path)
        remark = f"{error}{f'{chr(10)}Next: {following}' if following else ''}"
    for path, number, row in pick(data.files, args.row, args.n):
        print(common.safe(f"{path}, row {number}"))
        print(table(fields(row, entry, args.media_dir or data.media_dir), width, None if args.full else LINES))
        print()
        shown += 1
    if not shown:
        raise ValueError(f"{args.data}: has no row {args.row}.")
    if entry is not None:
        named = entry.get("columns", COLUMNS).values()
        read = [name for value in named for name in (value if isinstance(value, list) else [value])]
        if told := Table.of(data.path).told_unread(read):
            print(common.safe(told))
    if remark:
        remark = f"Shown by column, because this file has no entry and none can be told:\n{remark}"
        print(common.safe(remark), file=sys.stderr)
    return 0


def as_json(args: argparse.Namespace) -> int:
    """Print the rows for a machine."""
    data = find(args.data, common.info_path(args))
    rows = [
        {"file": str(path), "row": number, "columns": row} for path, number, row in pick(data.files, args.row, args.n)
    ]
    if not rows:
        raise ValueError(f"{args.data}: has no row {args.row}.")
    common.print_json(rows)
    return 0


def pick(files: list[Path], start: int, count: int) -> Iterator[tuple[Path, int, Any]]:
    """Return `count` rows from the `start`-th on, counted over all files, with the number in their own."""
    rows = ((path, number, row) for path in files for number, row in read_rows(path))
    return islice(rows, start, start + count)
