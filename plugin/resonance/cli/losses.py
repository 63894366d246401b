# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance losses`."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .table import print_table

if TYPE_CHECKING:
    from ..losses import LossSpec

EXAMPLES = (
    "resonance losses",
    "resonance losses uni_dpo   # formula, parameters and their ranges",
    "resonance losses my_package.mine:my_loss   # one of your own",
    "resonance losses --json",
)
# What the losses declare, written by tests/cli/test_losses.py: the declarations themselves need torch.
LISTING = Path(__file__).with_name("losses.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = "one of them, or package.module:function: formula, parameters, ranges"
    parser.add_argument("name", nargs="?", metavar="NAME", help=what).completer = names  # type: ignore[attr-defined]
    parser.add_argument("--json", action="store_true", help="print a list of objects, or one for NAME")


def run(args: argparse.Namespace) -> int:
    """List the preference losses, or print what one of them computes and takes."""
    try:
        found = [loss_of(args.name)] if args.name else listing()
    except ValueError as error:
        print(f"resonance losses: {error}\nNext: resonance losses", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found[0] if args.name else found, indent=2))
    elif args.name:
        print(found[0]["text"])
    else:
        needs = {True: "yes", False: "no"}
        print_table(
            ("LOSS", "LOG-PROBS", "REFERENCE", "SCORES", "PAPER", "WHAT"),
            (
                (
                    each["name"],
                    each["logps"],
                    needs[each["needs_reference"]],
                    needs[each["needs_scores"]],
                    each["paper"],
                    each["text"].partition("\n")[0],
                )
                for each in found
            ),
        )
        print("\nNext: resonance losses uni_dpo")
    return 0


def listing() -> list[dict[str, Any]]:
    return json.loads(LISTING.read_text(encoding="utf-8"))


def names(**_: object) -> list[str]:
    """For completion."""
    return [each["name"] for each in listing()]


def loss_of(name: str) -> dict[str, Any]:
    """A loss of ours, or a user's own.

    Raises:
        ValueError: there is none.
    """
    known = {each["name"]: each for each in listing()}
    if name in known:
        return known[name]
    if ":" in name or "." in name or "," in name:
        from ..losses import get_loss

        return described(get_loss(name))
    near = get_close_matches(name.lower().replace("-", "_"), known, n=3, cutoff=0.5)
    meant = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(known)}"
    raise ValueError(f"no loss {name!r}; {meant}; one of your own is package.module:function")


def described(spec: LossSpec) -> dict[str, Any]:
    """A loss as the listing has it."""
    return {
        "name": spec.name,
        "logps": spec.logps,
        "needs_reference": spec.needs_reference,
        "needs_scores": spec.needs_scores,
        "paper": spec.paper,
        "text": inspect.getdoc(spec.fn) or f"{spec.name} has no docstring.",
    }
