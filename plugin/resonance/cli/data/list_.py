# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data list`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...datafiles.find import HUBS
from ...datafiles.info import read_info
from ...datafiles.read import RowError, data_files, read_rows
from ...datafiles.text import printable
from . import common

QUICK = 16 << 20  # bytes up to which rows are counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_info(parser)


def run(args: argparse.Namespace) -> int:
    """List the data sets of dataset_info.json: is the file there, rows, formatting, pairs, scores."""
    path = common.info_path(args)
    try:
        entries = read_info(path)
    except (ValueError, OSError) as error:
        return common.failed("list", error)
    if not entries:
        why = "names no data set" if path.exists() else "is not there"
        return common.failed(
            "list", ValueError(f"{path} {why}\nNext: {common.typed('register', 'FILE', *common.info_options(args))}")
        )
    readable = []
    rows = [("NAME", "ROWS", "FORMATTING", "PAIRS", "SCORES", "SOURCE")]
    for name, entry in entries.items():
        columns = entry.get("columns")
        columns = columns if isinstance(columns, dict) else {}
        pairs = "yes" if entry.get("ranking") else "-"
        scores = "yes" if columns.get("score_chosen") and columns.get("score_rejected") else "-"
        count, source = where(entry, path.parent)
        readable += [name] * (count not in ("-", "?"))
        rows.append((name, count, str(entry.get("formatting", "alpaca")), pairs, scores, source))
    print_table(rows)
    following = (
        common.typed("show", readable[0], *common.info_options(args)) if readable else "resonance data import --list"
    )
    print(f"\nNext: {following}")
    return 0


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
    except (RowError, OSError):
        return "?", f"{name}  CANNOT BE READ"
    known = [count for count in counts if count is not None]
    return str(sum(known)) if len(known) == len(counts) else "many", name


def quick_count(path: Path) -> int | None:
    """Rows of a file, None if counting would take a while."""
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(path).metadata.num_rows
        except pa.ArrowException as error:
            raise RowError(f"{path}: cannot be read ({error}).") from error
    return None if path.stat().st_size > QUICK else sum(1 for _ in read_rows(path))


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)) + "  " + row[-1])
