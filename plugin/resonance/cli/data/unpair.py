# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data unpair`."""

import argparse
import math
from itertools import chain

from ...datafiles.find import DataSet, entry_of, find, scores_of
from ...datafiles.infer import file_name_of
from ...datafiles.info import INFO, register
from ...datafiles.scores import gather
from ...datafiles.text import count
from ...datafiles.unpair import Unpairing
from ...datafiles.write import write_rows
from . import common

EXAMPLES = (
    "resonance data unpair my_pairs -o answers.json",
    "resonance data unpair my_pairs --threshold 3 --weights -o answers.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_scores(parser)
    common.add_output(parser)
    parser.add_argument(
        "--name", metavar="NAME", help="what recipes call the answers (default: the output's name without its suffix)"
    )
    good = "answers with a score of at least T are good, others bad (default: chosen ones are good, rejected ones bad)"
    parser.add_argument("--threshold", type=float, metavar="T", help=good)
    weights = "with --threshold: a column `weight`, the distance of the score from T, with a mean of 1"
    parser.add_argument("--weights", action="store_true", help=weights)


def run(args: argparse.Namespace) -> int:
    """Make two rows of each pair, a good and a bad answer, for stage: kto, and register them."""
    if args.weights and args.threshold is None:
        raise common.WrongCall("--weights: needs --threshold T, from which the weights are measured.")
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise common.WrongCall(f"--threshold {args.threshold}: give a number.")
    data = find(args.data, common.info_path(args))
    for file in data.files:
        common.refuse_same(file, args.output)
    common.refuse_existing(args.output, args.force)
    plan = planned(args, data)
    write_rows(args.output, plan.rows(data.files))
    told = f", {plan.repeated} repeated ones left out" if plan.repeated else ""
    print(f"-> {args.output}: {count(plan.good, 'good answer')}, {count(plan.bad, 'bad answer')}{told}")
    info = data.info or common.info_path(args)
    name = args.name or args.output.stem
    register(info, name, plan.entry_of(file_name_of(args.output, info)), force=args.force)
    media = f" and `media_dir: {data.media_dir}`" if data.media_dir != info.parent else ""
    look = "check" if info.name == INFO else "show"  # `check` knows no other name
    following = common.typed(look, name, *common.info_options(argparse.Namespace(info=info)))
    keys = f"`dataset_dir: {info.parent}`{media}"
    print(f"Next: {following}, then `dataset: {name}` with {keys} in a recipe of stage: kto")
    return 0


def planned(args: argparse.Namespace, data: DataSet) -> Unpairing:
    """How the pairs of a set become answers.

    Raises:
        ValueError: it has no pairs, scores that are asked for are missing, or names of its columns are in the way.
    """
    entry = entry_of(data)
    if not entry.get("ranking"):
        raise ValueError(f'{args.data}: has no pairs; a preference set has "ranking": true.')
    scored = args.threshold is not None or args.columns or "score_chosen" in (entry.get("columns") or {})
    plan = Unpairing(entry, scores_of(data, args.columns) if scored else None, args.threshold)
    if plan.scores is not None:
        scores = gather(data.files, plan.scores)
        scores.require_sound(data.path)
        if args.weights:
            distances = [abs(score - args.threshold) for score in chain(scores.chosen, scores.rejected)]
            plan.mean_distance = sum(distances) / len(distances)
            if not plan.mean_distance:
                raise ValueError(f"--weights: all scores are {args.threshold:g}, so all weights would be 0.")
    if problems := plan.problems():
        raise ValueError(f"{args.data}: {'; '.join(problems)}.")
    return plan
