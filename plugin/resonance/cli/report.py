# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance report`: one page about a run, or about several over one another."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from ..datafiles.text import count, printable
from ..report.remark import Remark
from ..report.run import Run, read_runs, shorten_names

MARK = "report.json"  # which runs a folder's report is of; it may be replaced by a report of these
FOLDER = "report"

EXAMPLES = (
    "resonance report saves/uni_dpo",
    "resonance report saves/uni_dpo saves/dpo -o both",
    "resonance report saves/uni_dpo --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output_dir of a run, finished or not")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="default: RUN/report, of several runs report in this folder"
    )
    parser.add_argument("--force", action="store_true", help="replace files of that folder that are no such report")
    parser.add_argument("--json", action="store_true", help="print remarks and last values as JSON, write nothing")


def run(args: argparse.Namespace) -> int:
    """Draw a page about runs: remarks, curves, pairs, samples; index.html, curves.png and curves.csv."""
    from ..report.page import Report
    from ..report.remarks import Material, remarks_of

    try:
        runs = read_runs(args.runs)
        shorten_names(runs)
        material = [Material(each) for each in runs]
        remarks = [remarks_of(each, left) for each, left in zip(runs, material, strict=True)]
        if args.json:
            print(json.dumps(_values(runs, remarks), indent=2, allow_nan=False))
            return 0
        folder = args.output or (Path(args.runs[0], FOLDER) if len(runs) == 1 else Path(FOLDER))
        _write(folder, Report(runs, material, remarks), args.force)
    except (ValueError, OSError) as error:
        print(f"resonance report: {error}\nNext: resonance report --help", file=sys.stderr)
        return 2
    for each, found in zip(runs, remarks, strict=True):
        _print(each, found)
    print(f"-> {folder / 'index.html'}")
    return 0


def _write(folder: Path, report: Any, force: bool) -> None:
    from ..datafiles.write import replacing
    from ..report import figure, page, tables

    names = (page.FILE, figure.FILE, tables.CSV)
    folders = [os.path.relpath(each.folder.resolve(), folder.resolve()) for each in report.runs]  # they may be moved
    foreign = [name for name in (*names, MARK) if (folder / name).exists()]
    if foreign and not force and not _is_of(folder / MARK, folders):
        raise ValueError(
            f"{folder} has {', '.join(foreign)}, and no report of these runs: choose another folder with -o, or "
            "replace them with --force"
        )
    if not any(each.metrics for each in report.runs):
        raise ValueError(f"{', '.join(str(each.folder) for each in report.runs)}: nothing was logged yet")
    with replacing(folder / MARK) as file:  # first, so that what a kill leaves may be replaced
        file.write(json.dumps({"runs": folders}, indent=2) + "\n")
    page.write_page(folder / page.FILE, report)
    figure.draw(folder / figure.FILE, report.runs, ", ".join(each.name for each in report.runs))
    tables.write_csv(folder / tables.CSV, report.runs)


def _is_of(mark: Path, folders: list[str]) -> bool:
    try:
        return bool(json.loads(mark.read_text(encoding="utf-8"))["runs"] == folders)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _print(run: Run, remarks: list[Remark]) -> None:
    print(f"{printable(run.name)}: {count(len(remarks), 'remark')}")
    for remark in remarks:
        print(f"  {remark.severity}: {remark.title}. {printable(remark.seen)}")
        print(f"    {remark.why}")
        print(f"    Try: {remark.cure}")


def _values(runs: list[Run], remarks: list[list[Remark]]) -> dict[str, Any]:
    """What a machine reads; a number that is not finite is null."""
    return {
        "runs": [
            {
                "run": str(run.folder),
                "log": run.source,
                "remarks": [remark._asdict() for remark in found],
                "last": {key: value if math.isfinite(value) else None for key, value in run.last.items()},
            }
            for run, found in zip(runs, remarks, strict=True)
        ]
    }
