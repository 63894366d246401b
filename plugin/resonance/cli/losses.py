# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance losses`."""

import argparse
import inspect
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="one of them, or package.module:function: formula, parameters, ranges")


def run(args: argparse.Namespace) -> int:
    """List the preference losses, or print what one of them computes and takes."""
    from ..losses import LOSSES, get_loss

    if args.name:
        try:
            print(inspect.getdoc(get_loss(args.name).fn) or f"{args.name} has no docstring.")
        except ValueError as error:
            print(f"resonance losses: {error}", file=sys.stderr)
            return 1
        return 0
    rows: list[tuple[str, ...]] = [("LOSS", "LOG-PROBS", "REFERENCE", "SCORES", "PAPER", "WHAT")]
    for spec in LOSSES.values():
        what = (inspect.getdoc(spec.fn) or "").partition("\n")[0]
        needs = ("yes" if needed else "no" for needed in (spec.needs_reference, spec.needs_scores))
        rows.append((spec.name, spec.logps, *needs, spec.paper, what))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nNext: resonance losses uni_dpo")
    return 0
