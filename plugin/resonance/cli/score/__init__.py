# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance score`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from ..data import common
from .options import add_options as add_arguments
from .options import fill

if TYPE_CHECKING:
    from ...scoring.estimate import Plan
    from ...scoring.journal import Journal
    from .job import Job

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = (
    "resonance score my_pairs --judge function --function my_rules:length -o scored.json",
    "resonance score my_pairs --judge rm --rm saves/rm -o scored.json",
    "resonance score my_pairs --judge http --url http://127.0.0.1:8000/v1 --model judge -o scored.json --dry-run",
)


def run(args: argparse.Namespace) -> int:
    """Fill score_chosen and score_rejected of pairs by a judge: a function, a reward model or a server."""
    from .job import job_of

    try:
        fill(args)
        job = job_of(args)
        if args.dry_run:
            return dry_run(args, job)
        journal = job.journal()
    except (ValueError, OSError) as error:
        return failed(error, 2, "Next: resonance score --help")
    with journal:
        again = f"Next: {common.again(args)}"
        try:
            # a file of answers that was named may be of a run with another output
            common.refuse_existing(args.output, args.force or (journal.unfinished and args.cache is None))
        except ValueError as error:
            return failed(error, 2, f"Next: {common.again(args, '--force')}")
        try:
            return scored(args, job, journal)
        except KeyboardInterrupt:
            return failed("stopped; what was answered is kept, and the same command goes on", 1, again)
        except (ValueError, OSError) as error:
            return failed(error, 1, again)


def dry_run(args: argparse.Namespace, job: Job) -> int:
    """Print the estimate and one request."""
    from ...scoring.journal import Journal
    from . import report

    known = {}
    if job.cache.exists():
        with Journal(job.cache) as journal:
            known = journal.known
    plan = job.survey(known)
    request = report.short(job.judge.request(plan.first)) if plan.first is not None else None
    if args.json:
        print(json.dumps({"estimate": report.estimate(args, job, plan), "request": request}, indent=2))
        return 0
    report.print_estimate(args, job, plan)
    where = f" to {args.url}" if args.url else ""
    print(f"\nOne request{where} (pictures cut short):\n{json.dumps(request, indent=2, ensure_ascii=False)}")
    return 0


def scored(args: argparse.Namespace, job: Job, journal: Journal) -> int:
    """Ask, and write what came."""
    from ...scoring.output import write_unscored
    from ...scoring.result import gather
    from . import report

    plan = job.survey(journal.known)
    if not plan.keys:
        raise ValueError(f"{args.data}: no pair can be read{''.join(': ' + why for _, why in plan.unread.values())}")
    if not args.json:
        report.print_estimate(args, job, plan)
    if not agreed(args, plan):
        return failed("nothing was asked", 1, f"Next: {common.again(args, '--yes')}")
    asking = job.ask(plan, journal)
    result = gather(plan, journal.known, asking.unanswered)
    unscored = write_unscored(args.output, result.unscored)
    written = bool(result.scores) and (unscored is None or args.drop_unscored)
    if written:
        job.write(result.scores)
    if not asking.broken:
        journal.finish()
    report.finish(args, job, report.Outcome(plan, asking, result, unscored, written))
    return 0 if unscored is None else 1


def agreed(args: argparse.Namespace, plan: Plan) -> bool:
    """Whether to go on: asked where somebody is there to answer, and a price was given."""
    if args.price_in is None or args.yes or not plan.new or not sys.stdin.isatty():
        return True
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def failed(error: Exception | str, code: int, following: str) -> int:
    """Print what stopped the command, and its cure where the error has none; the exit code."""
    text = error if isinstance(error, str) else common.told(error)
    print(common.safe(f"resonance score: {text}"), file=sys.stderr)
    if "Next: " not in text:
        print(following, file=sys.stderr)
    return code
