# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance compare`: runs side by side, from the logs that they leave."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..report.run import read_runs
from ..report.tables import last_values, write_csv
from .table import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="output_dir of a run, or one of its checkpoints")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curves of all runs into one picture")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write every value that was logged")


def run(args: argparse.Namespace) -> int:
    """Put runs side by side: the last value of each metric, one picture, one table of all values."""
    try:
        runs = read_runs(args.runs)
        print_table(("LAST VALUE OF", *(run.name for run in runs), "WHAT"), last_values(runs))
        if args.csv is not None:
            write_csv(args.csv, runs)
            print(f"-> {args.csv}")
        if args.plot is not None:
            from ..report.figure import draw

            draw(args.plot, runs)
            print(f"-> {args.plot}")
    except (ValueError, OSError) as error:
        print(f"resonance compare: {error}\nNext: resonance compare --help", file=sys.stderr)
        return 2
    return 0
