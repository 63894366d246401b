# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance ls`."""

import argparse
import sys

from . import recipes
from .table import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", nargs="?", default="", help="only recipes whose names start so")


def run(args: argparse.Namespace) -> int:
    """List the recipes that come with the package: name, GPUs, purpose."""
    try:
        examples = recipes.examples_dir()
    except FileNotFoundError as error:
        print(f"resonance ls: {error}", file=sys.stderr)
        return 1
    found = recipes.list_recipes(examples)
    shown = [recipe for recipe in found if recipe.name.startswith(args.prefix.removeprefix("examples/"))]
    if not shown:
        near = recipes.nearest_names(args.prefix, [recipe.name for recipe in found])
        print(f"resonance ls: no recipe starts with {args.prefix!r}; nearest: {', '.join(near)}", file=sys.stderr)
        return 1
    cells = ((recipe.name, recipe.header.get("gpus", "-"), recipe.header.get("purpose", "-")) for recipe in shown)
    print_table(("RECIPE", "GPUS", "PURPOSE"), cells)
    flagship = [
        recipe.name for recipe in shown if "/uni_dpo" in recipe.name and not recipe.name.startswith("quickstart")
    ]
    print(f"\nNext: resonance cp {[*flagship, shown[0].name][0]} my_recipe.yaml")
    return 0
