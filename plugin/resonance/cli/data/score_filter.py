# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data score-filter`."""

import argparse
import math

from ...datafiles.rescore import MarginRule, filter_rows
from ...datafiles.scores import gather
from ...datafiles.text import count
from . import common
from .advice import register_copy

EXAMPLES = (
    "resonance data score-filter my_pairs --min-margin 1 -o clear.json",
    "resonance data score-filter my_pairs --min-margin 0.5 --drop-ties --drop-unscored -o clear.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_scores(parser)
    common.add_output(parser)
    least = "keep pairs whose chosen score is at least M above the rejected one"
    parser.add_argument("--min-margin", type=float, metavar="M", help=least)
    ties = parser.add_mutually_exclusive_group()
    ties.add_argument("--keep-ties", action="store_true", help="keep pairs with equal scores whatever M is")
    ties.add_argument("--drop-ties", action="store_true", help="drop pairs with equal scores whatever M is")
    unscored = "drop rows whose scores are missing or no numbers, rather than stop"
    parser.add_argument("--drop-unscored", action="store_true", help=unscored)
    common.add_flags(parser, "drop the rows that have one")


def run(args: argparse.Namespace) -> int:
    """Keep the pairs whose scores differ enough, and that nobody has flagged."""
    if args.min_margin is None and args.flags is None:
        raise common.WrongCall("give --min-margin M, --flags FILE or both: else every pair would be kept.")
    if args.min_margin is not None and not math.isfinite(args.min_margin):
        raise common.WrongCall(f"--min-margin {args.min_margin}: give a number.")
    least = -math.inf if args.min_margin is None else args.min_margin
    rule = MarginRule(least, True if args.keep_ties else False if args.drop_ties else None)
    data, columns = common.scored_input(args)
    where = (args.data, *common.info_options(args))
    flagged = common.placed_flags(args.flags, [data.file], *where).get(str(data.file), {})
    scores = gather([data.file], columns, flagged)
    if not args.drop_unscored:
        scores.require_sound(data.file)
    kept = sum(map(rule, scores.chosen, scores.rejected))
    if not kept:
        widest = max(scores.margins, default=math.nan)
        raise ValueError(f"no pair of {data.file} is kept: the widest margin is {widest:g}. Nothing was written.")
    filter_rows(data.file, args.output, columns, rule, flagged)
    print(f"-> {args.output}: {count(kept, 'pair')} kept{dropped(args, rule, len(scores.chosen) - kept)}", end="")
    print(f", {scores.bad} dropped without scores" if scores.bad else "", end="")
    print(f", {common.told_flags(flagged)}" if flagged else "")
    print(f"Next: {register_copy(args, data, args.output)}")
    return 0


def dropped(args: argparse.Namespace, rule: MarginRule, number: int) -> str:
    """How many pairs a rule drops, and why; nothing if it is none."""
    ties = {None: "", True: ", but no ties", False: ", and all ties"}[rule.ties]
    if args.min_margin is None:
        return f", {number} dropped (ties)" if rule.ties is False else ""
    return f", {number} dropped (margin below {args.min_margin:g}{ties})"
