# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance compare`: runs side by side, from the logs that they leave."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..report.run import read_runs
from ..report.tables import last_values, write_csv
from .data.common import print_json
from .table import print_table

EXAMPLES = (
    "resonance compare saves/uni_dpo saves/dpo",
    "resonance compare saves/uni_dpo saves/dpo --plot both.png --csv both.csv",
    "resonance compare saves/uni_dpo --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="output_dir of a run, or one of its checkpoints")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curves of all runs into one picture")
    parser.add_argument("--json", action="store_true", help="print one object: the last value of each metric by run")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write every value that was logged")


def run(args: argparse.Namespace) -> int:
    """Put runs side by side: the last value of each metric, one picture, one table of all values."""
    try:
        runs = read_runs(args.runs)
        if args.json:
            print_json({run.name: run.last for run in runs})
        else:
            print_table(("LAST VALUE OF", *(run.name for run in runs), "WHAT"), last_values(runs))
        told = sys.stderr if args.json else sys.stdout
        if args.csv is not None:
            write_csv(args.csv, runs)
            print(f"-> {args.csv}", file=told)
        if args.plot is not None:
            from ..report.figure import draw

            draw(args.plot, runs)
            print(f"-> {args.plot}", file=told)
    except (ValueError, OSError) as error:
        print(f"resonance compare: {error}\nNext: resonance compare --help", file=sys.stderr)
        return 2
    return 0
