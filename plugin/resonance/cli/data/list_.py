# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data list`."""

import argparse
import os
from pathlib import Path
from typing import Any

from ...datafiles.find import HUBS
from ...datafiles.info import read_info
from ...datafiles.read import data_files, read_rows
from ...datafiles.tables import table_batches
from ..table import print_table
from . import common

COLUMNS = ("NAME", "ROWS", "FORMATTING", "PAIRS", "SCORES", "SOURCE")
QUICK = 16 << 20  # bytes up to which rows are counted

EXAMPLES = (
    "resonance data list",
    "resonance data list --dataset-dir my_data",
    "resonance data list --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_info(parser)
    common.add_json(parser, "a list of objects")


def run(args: argparse.Namespace) -> int:
    """List the data sets of dataset_info.json: is the file there, rows, formatting, pairs, scores."""
    path = common.info_path(args)
    entries = read_info(path)
    if not entries:
        why = "names no data set" if path.exists() else "is not there"
        raise ValueError(f"{path} {why}\nNext: {common.typed('register', 'FILE', *common.info_options(args))}")
    rows = [row_of(name, entry, path.parent) for name, entry in entries.items()]
    if args.json:
        common.print_json([dict(zip(map(str.lower, COLUMNS), row, strict=True)) for row in rows])
        return 0
    print_table(COLUMNS, rows)
    readable = [name for name, rows_in, *_ in rows if rows_in not in ("-", "?")]
    show = common.typed("show", *readable[:1], *common.info_options(args))
    print(f"\nNext: {show if readable else 'resonance data import --list'}")
    return 0


def row_of(name: str, entry: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """What is printed of an entry."""
    if not isinstance(entry, dict):
        return name, "-", "-", "-", "-", f"no object but {entry!r:.40}"
    columns = given if isinstance(given := entry.get("columns"), dict) else {}
    pairs = "yes" if entry.get("ranking") else "-"
    scores = "yes" if columns.get("score_chosen") and columns.get("score_rejected") else "-"
    count, source = where(entry, folder)
    return name, count, str(entry.get("formatting", "alpaca")), pairs, scores, source


def where(entry: dict[str, Any], folder: Path) -> tuple[str, str]:
    """The number of rows, as far as it is told quickly, and the source."""
    if hub := next((entry[key] for key in HUBS if key in entry), None):
        return "-", f"hub: {hub}"
    if not isinstance(name := entry.get("file_name"), str):
        return "-", "no file_name"
    path = folder / name
    if not os.path.exists(path):
        return "-", f"{name}  NOT THERE"
    try:
        counts = [quick_count(file) for file in data_files(path)]
    except (ValueError, OSError):
        return "?", f"{name}  CANNOT BE READ"
    return "many" if None in counts else str(sum(filter(None, counts))), name


def quick_count(path: Path) -> int | None:
    """Rows of a file, None if counting would take a while."""
    if path.suffix.lower() == ".parquet":
        return table_batches(path)[0]
    return None if path.stat().st_size > QUICK else sum(1 for _ in read_rows(path))
