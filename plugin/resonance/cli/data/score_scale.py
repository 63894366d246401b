# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data score-scale`."""

import argparse
import math
from pathlib import Path
from typing import Any

from ...datafiles.rescore import Line, Map, Ranks, rescale
from ...datafiles.scores import Scores, gather, share_at_least
from ...datafiles.text import count
from . import common
from .advice import register_copy
from .score_stats import TAU_GOOD

ETA = 0.7  # the default of `uni_dpo_qual_eta`

EXAMPLES = (
    "resonance data score-scale my_pairs --to 0 5 -o rescaled.json",
    "resonance data score-scale my_pairs --from 1 10 --to 0 5 -o rescaled.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_scores(parser)
    common.add_output(parser)
    scale: dict[str, Any] = {"type": float, "nargs": 2, "metavar": ("LO", "HI")}
    parser.add_argument("--to", required=True, help="the new scale", **scale)
    how = parser.add_mutually_exclusive_group()
    old = "the old scale (default: from the lowest to the highest score in the file)"
    how.add_argument("--from", dest="old", help=old, **scale)
    ranks = "by rank instead: equal parts of the scores on equal parts of the scale"
    how.add_argument("--quantiles", action="store_true", help=ranks)
    tau = "a threshold on the old scale, to see what it becomes"
    parser.add_argument("--tau-good", type=float, default=TAU_GOOD, metavar="T", help=tau)


def run(args: argparse.Namespace) -> int:
    """Put scores on another scale, so that tau_good means the same for all sets."""
    if not math.isfinite(args.tau_good):
        raise common.WrongCall(f"--tau-good {args.tau_good}: give a number.")
    data, columns = common.scored_input(args)
    scores = gather([data.file], columns)
    scores.require_sound(data.file)
    scale = choose(args, scores)
    rescale(data.file, args.output, columns, scale)
    explain(args.output, scores, scale, args.tau_good)
    print(f"Next: {register_copy(args, data, args.output)}")
    return 0


def choose(args: argparse.Namespace, scores: Scores) -> Map:
    """The map that was asked for.

    Raises:
        ValueError: if the scales do not rise, or scores lie beyond --from; says which rows.
    """
    if args.quantiles:
        return Ranks(scores, *args.to)
    found = scores.limits
    low, high = args.old or found
    pairs = enumerate(zip(scores.chosen, scores.rejected, strict=True))
    if beyond := [row for row, pair in pairs if min(pair) < low or max(pair) > high]:
        rows = ", ".join(map(str, beyond[:10])) + ", ..." * (len(beyond) > 10)
        raise ValueError(
            f"scores go from {found[0]:g} to {found[1]:g}, beyond --from {low:g} {high:g}, "
            f"in {count(len(beyond), 'row')}: {rows}\nNext: "
            + common.again(args, "--from", f"{min(low, found[0]):g}", f"{max(high, found[1]):g}")
        )
    return Line(low, high, *args.to)


def explain(output: Path, scores: Scores, scale: Map, tau: float) -> None:
    """Print what the new scale does to the recipe's keys."""
    low, high = scores.limits
    print(f"-> {output}: {len(scores.chosen)} pairs, {low:g} -> {scale(low):g}, {high:g} -> {scale(high):g}")
    new_tau, (share,) = scale(tau), share_at_least(scores.chosen, [tau])
    print(
        f"uni_dpo_tau_good: {tau:g} on the old scale becomes {new_tau:.6g}; {share:.1%} of the chosen scores reach it"
    )
    (share,) = share_at_least([scale(score) for score in scores.chosen], [TAU_GOOD])
    print(
        f"uni_dpo_tau_good: {TAU_GOOD} (the default) on the new scale is reached by {share:.1%} of the chosen scores"
    )
    if isinstance(scale, Line):
        print(
            f"Margins are multiplied by {scale.slope:.6g}: uni_dpo_qual_eta {ETA} weighs pairs as"
            f" {ETA * scale.slope:.6g} did before"
        )
    else:
        print("Margins are differences of ranks now: look at uni_dpo_qual_eta again")
