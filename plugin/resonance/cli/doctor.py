# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance doctor`."""

import argparse
import json

from .terminal import painted, waiting

EXAMPLES = (
    "resonance doctor",
    "resonance doctor --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Examine this environment; exit 1 if something that a recipe needs is broken."""
    from ..checks.doctor import examine

    with waiting("looking at this environment", args.json):
        report = examine()
    print(json.dumps(report.as_dict(), indent=2) if args.json else painted(report.as_text()))
    return 0 if report.ok else 1
