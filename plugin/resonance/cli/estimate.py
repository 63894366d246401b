# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance estimate`."""

import argparse
import json
import sys
from dataclasses import fields

from .terminal import waiting
from .train import add_recipe

EXAMPLES = (
    "resonance estimate my.yaml --gpu H100 --world-size 8",
    "resonance estimate my.yaml per_device_train_batch_size=2 --gpu-memory 24",
    "resonance estimate my.yaml --image-tokens 750 --text-tokens 60 --response-tokens 300 --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_recipe(parser, "a training recipe (YAML or JSON); its model is never loaded")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="the same as an option")
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument(
        "--gpu-memory", type=float, metavar="GIB", help="memory of one GPU (default: a table of sizes)"
    )
    memory.add_argument("--gpu", metavar="NAME", help="the same by name, e.g. H200, A100-40GB, RTX4090")
    add("--world-size", type=int, default=1, metavar="N", help="number of GPUs")
    add("--batch", type=int, metavar="B", help="instead of per_device_train_batch_size")
    tokens = {"image": "an image", "text": "a prompt without its images", "response": "a response"}
    for name, what in tokens.items():
        source = "default: the first rows of the recipe's data sets, if they are on disk"
        add(f"--{name}-tokens", type=int, metavar="N", help=f"tokens of {what} ({source})")
    add("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Estimate memory and FLOPs of a recipe, without and with the speed-ups; loads no weight."""
    from ..checks.estimate.entry import Options, estimate_recipe

    given = {field.name: getattr(args, field.name) for field in fields(Options)}
    given["overrides"] = [*args.overrides, *args.set]
    try:
        with waiting("laying out the model", args.json):
            found = estimate_recipe(args.recipe, Options(**given))
    except ValueError as error:
        print(f"resonance estimate: {error}\nNext: resonance estimate --help", file=sys.stderr)
        return 2
    print(json.dumps(found.as_dict(), indent=2) if args.json else found.as_text())
    return 0
