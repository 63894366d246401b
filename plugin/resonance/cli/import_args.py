# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance import-args`."""

import argparse
import json
import sys
from pathlib import Path

from ..datafiles.write import WriteError, replacing

EXAMPLES = (
    "resonance import-args --file run_dpo.sh --out my.yaml",
    "resonance import-args -- python dpo.py --model_name_or_path llava-hf/llava-1.5-7b-hf --dataset_name rlhfv",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("words", nargs="*", metavar="WORD", help="the command, behind --: accelerate launch ... dpo.py --beta 0.1 ...")
    add("--file", type=Path, metavar="RUN.sh", help="a shell script that has the command")
    add("--out", type=Path, metavar="RECIPE.yaml", help="the file to write (default: print the recipe)")
    add("--template", metavar="NAME", help="LlamaFactory's template, for a model that is not known")
    add("--json", action="store_true", help="print one object: recipe, what was left out, next command")
    add("--force", action="store_true", help="write over a file that exists")


def run(args: argparse.Namespace) -> int:
    """Turn an sft.py, dpo.py or ppo.py command of the Resonance guide into a recipe; exit 1 if it is not whole."""
    from ..translate.fit import make_recipe
    from ..translate.words import read_script, read_words
    from ..translate.write import command_of, write

    try:
        if bool(args.words) == bool(args.file):
            raise ValueError("give the command behind --, or a script with --file")
        if args.out is not None and args.out.exists() and not args.force:
            raise ValueError(f"{args.out} exists; add --force to write over it")
        command = read_script(args.file.read_text(encoding="utf-8")) if args.file else read_words(args.words)
        recipe = make_recipe(command, args.template)
        text = write(recipe, str(args.out or "recipe.yaml"))
        if args.out is not None:
            with replacing(args.out, "w") as file:
                file.write(text)
        elif not args.json:
            print(text, end="")
    except (ValueError, OSError, WriteError) as error:
        print(f"resonance import-args: {error}\nNext: resonance import-args --help", file=sys.stderr)
        return 2
    said = [f"--{name}: {why}" for name, why in recipe.refused.items()]
    for line in filter(None, [recipe.model, *said]):
        print(f"resonance import-args: {line}", file=sys.stderr)
    if args.json:
        following = command_of(recipe, str(args.out or "recipe.yaml"))
        told = {"recipe": recipe.keys, "refused": recipe.refused, "model": recipe.model, "data": recipe.data}
        print(json.dumps({**told, "text": text, "next": following}, indent=2, ensure_ascii=False))
    elif args.out is not None:
        print(f"-> {args.out}\nData: {recipe.data}\nNext: {command_of(recipe, str(args.out))}")
    return 1 if recipe.refused else 0
