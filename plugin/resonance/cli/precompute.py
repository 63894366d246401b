# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance precompute`."""

import argparse
import shlex
import subprocess
import sys

from .train import add_recipe, train_command

_ALWAYS = ("precompute_ref_log_probs=true", "precompute_only=true", "report_to=none")

EXAMPLES = (
    "resonance precompute my.yaml",
    "FORCE_TORCHRUN=1 NPROC_PER_NODE=4 resonance precompute my.yaml",
    "resonance precompute my.yaml per_device_train_batch_size=8",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "a DPO or KTO recipe (YAML or JSON)")


def run(args: argparse.Namespace) -> int:
    """Compute the reference log-probabilities of a recipe's rows and stop, on all GPUs as a training would."""
    wrong = [text for text in args.overrides if "=" not in text]
    if wrong or not args.recipe.is_file() or args.recipe.suffix not in (".yaml", ".yml", ".json"):
        what = f"{wrong[0]}: not KEY=VALUE" if wrong else f"{args.recipe}: no such recipe (.yaml, .yml or .json)"
        print(f"resonance precompute: {what}\nNext: resonance precompute recipe.yaml", file=sys.stderr)
        return 2
    code = subprocess.run(train_command(args, *_ALWAYS)).returncode
    if code:
        again = shlex.join(["resonance", "precompute", str(args.recipe), *args.overrides])
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}; its last lines name the cause"
        then = "" if code < 0 else "correct that, then "
        print(f"resonance precompute: the run {ended}.", file=sys.stderr)
        print(f"Next: {then}{again} (rows that were finished are kept)", file=sys.stderr)
    return 1 if code else 0
