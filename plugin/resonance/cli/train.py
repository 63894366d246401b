# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What commands that take or run a recipe share."""

import argparse
import sys
from pathlib import Path


def add_recipe(parser: argparse.ArgumentParser, what: str) -> None:
    """The recipe and other values of its keys.

    Args:
        parser: of the command.
        what: which recipe it takes.
    """
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help=what)
    other = "another value of a recipe key, as llamafactory-cli takes it"
    parser.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help=other)


def train_command(args: argparse.Namespace, *more: str) -> list[str]:
    """The command that trains the recipe with more keys, whatever else is on PATH or in the working folder.

    Args:
        args: with what `add_recipe` added.
        more: KEY=VALUEs that overrule the typed ones.
    """
    # -P: as for llamafactory-cli, a datasets.py in the working folder is no module
    return [sys.executable, "-P", "-m", "llamafactory.cli", "train", str(args.recipe), *args.overrides, *more]
