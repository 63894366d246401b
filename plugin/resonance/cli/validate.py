# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance validate`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..checks.recipe.entry import Options
    from ..checks.recipe.verdict import Verdict

NOT_HERE = "is not here yet"  # in notes, before the command that brings it

EXAMPLES = (
    "resonance validate my.yaml",
    "resonance validate my.yaml --gpus 8 --gpu H100",
    "resonance validate my.yaml pref_beta=0.5 --json",
    "resonance validate my.yaml --dry-run",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "words",
        nargs="+",
        metavar="RECIPE|KEY=VALUE",
        help="training recipes (YAML or JSON), and keys for all of them",
    )
    add("--gpus", type=int, default=1, metavar="N", help="GPUs a node (default: 1): batches, steps, commands")
    add("--nodes", type=int, default=1, metavar="M", help="nodes (default: 1)")
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument("--gpu", metavar="NAME", help="compare an estimate of the memory with this GPU, e.g. H100")
    memory.add_argument("--gpu-memory", type=float, metavar="GIB", help="the same by size")
    add("--dry-run", action="store_true", help="train two steps on the longest rows, on --gpus N of this machine")
    add("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Tell everything that is wrong with recipes before a model is loaded, and how to start them."""
    from ..checks.recipe.entry import Options, validate

    recipes = [word for word in args.words if "=" not in word or Path(word).is_file()]
    overrides = [word for word in args.words if word not in recipes]
    if what := _wrong_call(args, recipes):
        print(f"resonance validate: {what}\nNext: resonance validate --help", file=sys.stderr)
        return 2
    options = Options(overrides, args.gpus, args.nodes, args.gpu, args.gpu_memory)
    found = validate([Path(recipe) for recipe in recipes], options)
    for verdict in found if args.dry_run else ():
        if verdict.ok:
            _try(verdict, options)
    failed = [verdict for verdict in found if not verdict.ok]
    if args.json:
        print(json.dumps({"ok": not failed, "recipes": [verdict.as_dict() for verdict in found]}, indent=2))
    else:
        print("\n\n".join(verdict.as_text() for verdict in found))
        print(f"\n{_summary(found)}\nNext: {_next(found, failed, options)}")
    return 1 if failed else 0


def _wrong_call(args: argparse.Namespace, recipes: list[str]) -> str:
    """What is wrong with the options; empty if nothing is."""
    from ..checks.estimate.gpus import gpu_gibibytes

    if not recipes:
        return "give a recipe (.yaml, .yml or .json)"
    if min(args.gpus, args.nodes) < 1:
        return "--gpus and --nodes are whole numbers from 1"
    if args.dry_run and args.nodes > 1:
        return "--dry-run trains on this machine; leave --nodes out"
    if args.gpu_memory is not None and not args.gpu_memory > 0:
        return f"--gpu-memory: {args.gpu_memory}; allowed: GiB, above 0"
    try:
        if args.gpu is not None:
            gpu_gibibytes(args.gpu)
    except ValueError as error:
        return str(error)
    return ""


def _try(verdict: Verdict, options: Options) -> None:
    """Train two steps of a recipe, and add what they took."""
    from ..checks.recipe.dry_run import dry_run

    print(f"resonance validate: training two steps of {verdict.recipe} ...", file=sys.stderr)
    try:
        verdict.facts.append(dry_run(verdict.recipe, options.overrides, options.gpus))
    except ValueError as error:
        verdict.errors.append(str(error))


def _summary(found: list[Verdict]) -> str:
    counts = [sum(len(getattr(verdict, kind)) for verdict in found) for kind in ("errors", "warnings")]
    words = [f"{n} {word}{'s' * (n != 1)}" for n, word in zip(counts, ("error", "warning"), strict=True)]
    return f"{len(found)} recipe{'s' * (len(found) != 1)}: {' and '.join(words)}"


def _next(found: list[Verdict], failed: list[Verdict], options: Options) -> str:
    """What to type next: once more, what is not here yet, or the command of the devices that were given."""
    if failed:
        again = shlex.join(["resonance", "validate", *(verdict.recipe for verdict in failed), *options.overrides])
        return f"correct what is wrong, then {again}"
    yet = [note.partition(NOT_HERE)[2].partition(": ")[2] for note in found[0].notes if NOT_HERE in note]
    commands = list(found[0].commands.values())
    place = 2 if options.nodes > 1 else 1 if options.gpus > 1 else 0
    return yet[0] if yet else commands[min(place, len(commands) - 1)]
