# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data score-stats`."""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from ...datafiles.find import find, scores_of
from ...datafiles.histogram import plot
from ...datafiles.info import INFO
from ...datafiles.scores import QUANTILES, Scores, gather, quantiles, share_at_least
from . import common
from .advice import register_copy

TAU_GOOD = 2.5  # the default of `uni_dpo_tau_good`

EXAMPLES = (
    "resonance data score-stats my_pairs",
    "resonance data score-stats my_pairs --tau-good 3 4 --plot scores.png",
    "resonance data score-stats my_pairs.json --columns gpt_a gpt_b --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_scores(parser)
    thresholds = "thresholds to count (default: 2.5 and quantiles of the chosen scores)"
    parser.add_argument("--tau-good", type=float, nargs="+", metavar="T", help=thresholds)
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw histograms")
    common.add_json(parser, "one object: counts, quantiles, shares by threshold")
    parser.add_argument("--force", action="store_true", help="with --plot: write over a file that exists")


def run(args: argparse.Namespace) -> int:
    """Count scores: range, quantiles, ties, margins, and what a tau_good would select."""
    if args.plot and args.plot.suffix.lower() != ".png":
        raise common.WrongCall(f"--plot {args.plot}: only .png is drawn.")
    if not all(map(math.isfinite, args.tau_good or [])):
        raise common.WrongCall("--tau-good: give numbers that are finite.")
    if args.force and not args.plot:
        raise common.WrongCall("--force is for --plot.")
    if args.plot:
        common.refuse_existing(args.plot, args.force)
    data = find(args.data, common.info_path(args))
    columns = scores_of(data, args.columns)
    scores = gather(data.files, columns)
    if scores.chosen:
        if args.json:
            common.print_json(as_dict(args.data, columns, scores, args.tau_good))
        else:
            print_stats(args.data, columns, scores, args.tau_good)
        if args.plot:
            plot(args.plot, scores, columns, args.tau_good or [TAU_GOOD])
            print(f"-> {args.plot}", file=sys.stderr if args.json else sys.stdout)
    scores.require_sound(args.data)
    if args.json:
        return 0
    if data.entry is None or not data.entry.get("columns", {}).get("score_chosen"):
        register = register_copy(args, data, data.path)
        print(f"\nNo {INFO} names these columns yet. Next: {register}")
    return 0


def print_stats(name: str, columns: tuple[str, str], scores: Scores, thresholds: list[float] | None) -> None:
    """Print the tables. At least one row has scores."""
    margins = scores.margins
    count = len(margins)
    ties = sum(margin == 0 for margin in margins)
    below = sum(margin < 0 for margin in margins)
    print(f"{name}: {count} pairs with scores ({columns[0]}, {columns[1]})\n")
    print(f"{'':12}{'mean':>9}" + "".join(f"{heading(part):>9}" for part in QUANTILES) + f"{'values':>9}")
    for label, values in (("chosen", scores.chosen), ("rejected", scores.rejected), ("margin", margins)):
        mean = sum(values) / count
        cells = "".join(f"{value:9.4g}" for value in (mean, *quantiles(values)))
        print(f"{label:12}{cells}{len(set(values)):9}")
    print(f"\nties: {ties} ({ties / count:.1%})    chosen below rejected: {below} ({below / count:.1%})")
    if below > count / 2:
        print("Most chosen scores are the lower ones: are the two columns mixed up?", file=sys.stderr)
    taus = taus_of(scores, thresholds)
    print(f"\n{'tau_good':>9}{'chosen >=':>12}{'rejected >=':>13}")
    shares = zip(taus, share_at_least(scores.chosen, taus), share_at_least(scores.rejected, taus), strict=True)
    for tau, chosen, rejected in shares:
        default = "  the default of uni_dpo_tau_good" if tau == TAU_GOOD else ""
        print(f"{tau:9.4g}{chosen:12.1%}{rejected:13.1%}{default}")


def taus_of(scores: Scores, thresholds: list[float] | None) -> list[float]:
    return thresholds or sorted({TAU_GOOD, *quantiles(scores.chosen, (0.05, 0.25, 0.5, 0.75, 0.95))})


def as_dict(name: str, columns: tuple[str, str], scores: Scores, thresholds: list[float] | None) -> dict[str, Any]:
    """The tables for a machine."""
    margins, taus = scores.margins, taus_of(scores, thresholds)
    parts = {"chosen": scores.chosen, "rejected": scores.rejected, "margin": margins}
    names = ["mean", *map(heading, QUANTILES)]
    shares = zip(taus, share_at_least(scores.chosen, taus), share_at_least(scores.rejected, taus), strict=True)
    return {
        "data": name,
        "columns": list(columns),
        "pairs": len(margins),
        "unscored": scores.bad,
        "ties": sum(margin == 0 for margin in margins),
        "chosen_below_rejected": sum(margin < 0 for margin in margins),
        **{part: dict(zip(names, (sum(v) / len(v), *quantiles(v)), strict=True)) for part, v in parts.items()},
        "tau_good": [{"tau": tau, "chosen": chosen, "rejected": rejected} for tau, chosen, rejected in shares],
    }


def heading(part: float) -> str:
    return {0.0: "min", 0.5: "median", 1.0: "max"}.get(part, f"{part:.0%}")
