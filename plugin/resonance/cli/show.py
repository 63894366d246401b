# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance show`."""

import argparse
import json
import sys

from ..datafiles.text import printable
from . import recipes

EXAMPLES = ("resonance show qwen2_vl_2b/uni_dpo", "resonance show uni_dpo_lora --json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", metavar="NAME", help="a name that `resonance ls` prints, or its end if no other ends so"
    ).completer = recipes.completer  # type: ignore[attr-defined]
    parser.add_argument("--json", action="store_true", help="print one object: what `ls` knows, and the text")


def run(args: argparse.Namespace) -> int:
    """Print a recipe with its header, and what `ls` knows of it."""
    try:
        examples = recipes.examples_dir()
        path = recipes.find_file(args.recipe, examples)
    except (ValueError, FileNotFoundError) as error:
        print(f"resonance show: {error}\nNext: resonance ls", file=sys.stderr)
        return 2
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(examples)
    if path.suffix not in (".yaml", ".yml"):  # a DeepSpeed file that a recipe names
        print(json.dumps({"name": str(name), "path": str(path), "text": text}) if args.json else text.rstrip())
        return 0
    recipe = recipes.read_recipe(name.with_suffix("").as_posix(), path)
    if args.json:
        print(
            json.dumps({**recipe.as_dict(), "settings": recipe.settings, "text": text}, indent=2, ensure_ascii=False)
        )
        return 0
    for fact, value in recipe.facts.items():
        print(printable(f"{fact:<8}{value}"))
    print(f"\n{text.rstrip()}\n\nNext: resonance cp {recipe.name} my_recipe.yaml")
    return 0
