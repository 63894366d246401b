# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance ls`."""

import argparse
import json
import sys
from difflib import get_close_matches

from . import recipes
from .recipes import FACTS, Recipe
from .table import print_table

FILTERS = ("method", "model", "tuning", "data")
BESIDE = ("quickstart/", "methods/")  # folders of a demonstration, and of other ways to start
EXAMPLES = (
    "resonance ls",
    "resonance ls quickstart",
    "resonance ls --method uni_dpo --model qwen2.5-vl --table",
    "resonance ls --method grpo --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prefix", nargs="?", default="", metavar="PREFIX", help="only recipes whose names start so"
    ).completer = recipes.completer  # type: ignore[attr-defined]
    told = {
        "method": "only of this loss, stage or algorithm: uni_dpo, simpo, grpo, sft, ...",
        "model": "only of this model, or a part of its name: qwen2-vl, llama-3-8b",
        "tuning": "only of this finetuning_type: full, lora",
        "data": "only on this data set, or a part of its name",
    }
    for name in FILTERS:
        parser.add_argument(f"--{name}", metavar=name.upper(), action="append", default=[], help=told[name])
    parser.add_argument("--table", action="store_true", help="print method, model, data and memory instead of purpose")
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(args: argparse.Namespace) -> int:
    """List the recipes that come with the package: what they train, on how many GPUs, for what."""
    try:
        found = recipes.list_recipes(recipes.examples_dir())
        shown = chosen(found, args)
    except (FileNotFoundError, ValueError) as error:
        print(f"resonance ls: {error}\nNext: resonance ls --table", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps([recipe.as_dict() for recipe in shown], indent=2, ensure_ascii=False))
        return 0
    if args.table:
        print_table(("RECIPE", *map(str.upper, FACTS)), ((each.name, *each.facts.values()) for each in shown))
        print("\nMEMORY is of one GPU, on Resonance's path; with ~ it is estimated, not measured.")
    else:
        cells = ((recipe.name, recipe.facts["gpus"], recipe.header.get("purpose", "-")) for recipe in shown)
        print_table(("RECIPE", "GPUS", "PURPOSE"), cells)
    print(f"\nNext: resonance cp {flagship(shown).name} my_recipe.yaml")
    return 0


def chosen(found: list[Recipe], args: argparse.Namespace) -> list[Recipe]:
    """Recipes that fit all filters; of a filter that is given several times, any.

    Raises:
        ValueError: none does, with what is nearest to the filter that leaves nothing.
    """
    shown = [recipe for recipe in found if recipe.name.startswith(args.prefix.removeprefix("examples/"))]
    if not shown:
        near = recipes.nearest_names(args.prefix, [recipe.name for recipe in found])
        named = [f"{name} {args.prefix}" for name in FILTERS if any(fits(each, name, args.prefix) for each in found)]
        cure = f"; as a filter: resonance ls --{named[0]}" if named else ""
        raise ValueError(f"no recipe starts with {args.prefix!r}; nearest: {', '.join(near)}{cure}")
    for name in FILTERS:
        wanted = getattr(args, name)
        left = [recipe for recipe in shown if not wanted or any(fits(recipe, name, each) for each in wanted)]
        if not left:
            values = sorted({recipe.facts[name] for recipe in shown})
            near = get_close_matches(wanted[0], values, n=3, cutoff=0.3) or values
            raise ValueError(
                f"none of {len(shown)} recipes has --{name} {' or '.join(wanted)}; nearest: {', '.join(near)}"
            )
        shown = left
    return shown


def fits(recipe: Recipe, name: str, wanted: str) -> bool:
    """Whether a filter fits: one of the methods by its whole name, or a part of another value."""
    value, wanted = recipe.facts[name].lower(), wanted.lower().replace("sigmoid", "dpo")
    return wanted in value.split("+") if name == "method" else wanted in value


def flagship(shown: list[Recipe]) -> Recipe:
    """The recipe to begin with: the loss that this package is for, on one GPU, beyond the demonstration."""

    def place(recipe: Recipe) -> tuple[bool, bool, bool]:
        facts = recipe.facts
        return facts["method"] != "uni_dpo", recipe.name.startswith(BESIDE), facts["tuning"] != "lora"

    return min(shown, key=place)
