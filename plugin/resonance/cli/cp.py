# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance cp`."""

import argparse
import re
import sys
from pathlib import Path

from ..datafiles.write import WriteError, replacing
from . import recipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a name that `resonance ls` prints, or a path below examples/")
    parser.add_argument("dest", type=Path, help="the file to write, or a folder to write it into")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")


def run(args: argparse.Namespace) -> int:
    """Copy a recipe to a file of yours, and say what to type next."""
    try:
        source = recipes.find_file(args.recipe, recipes.examples_dir())
    except (ValueError, FileNotFoundError) as error:
        print(f"resonance cp: {error}\nNext: resonance ls", file=sys.stderr)
        return 2
    dest = args.dest / source.name if args.dest.is_dir() else args.dest
    if dest.exists() and not args.force:
        print(f"resonance cp: {dest} exists; add --force to write over it", file=sys.stderr)
        return 1
    try:
        with replacing(dest, "wb") as file:
            file.write(source.read_bytes())
    except WriteError as error:
        print(f"resonance cp: {error}", file=sys.stderr)
        return 1
    print(f"{source.name} -> {dest}")
    if source.suffix in (".yaml", ".yml"):
        print_next_steps(source, dest)
    return 0


def print_next_steps(source: Path, dest: Path) -> None:
    """Prints the files the recipe points to that are not here, and the command that runs it."""
    text = source.read_text(encoding="utf-8")
    settings = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for path in dict.fromkeys(re.findall(r"\bexamples/[\w./-]+", settings)):
        if not Path(path).exists():
            print(f"It also needs {path}, looked up from where you start: resonance cp {path} {path}")
    header = recipes.read_header(source)
    if "data" in header:
        print(f"Data: {header['data']}")
    command = header.get("command", "")
    runnable = "llamafactory-cli train" in command
    command = re.sub(r"\S+\.ya?ml", lambda _: str(dest), command) if runnable else f"llamafactory-cli train {dest}"
    print(f"Next: {command}")
