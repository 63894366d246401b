# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance eval-pairs`: how often a reward model ranks the chosen answer first."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from .table import print_table

if TYPE_CHECKING:
    from ..checks.data.pairs import Pair

SHOWN = 5  # rows that were left out
_MEANS = ("chosen", "rejected", "margin")


EXAMPLES = (
    "resonance eval-pairs my_pairs --rm saves/rm",
    "resonance eval-pairs held_out.json more.json --rm saves/rm --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "datasets", nargs="+", metavar="DATASET", help="a name in dataset_info.json, or a file of pairs"
    )
    parser.add_argument("--rm", required=True, metavar="FOLDER", help="output_dir of a `stage: rm` run")
    parser.add_argument("--dataset-dir", default="data", metavar="DIR", help="folder of dataset_info.json")
    parser.add_argument(
        "--media-dir", metavar="DIR", help="where relative paths start (default: the dataset's folder)"
    )
    parser.add_argument("--base", metavar="MODEL", help="of an adapter, if it is no longer where it was trained from")
    parser.add_argument("--template", metavar="NAME", help="of a model that LlamaFactory's own trainer has left")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda:1, ... (default: the GPU, if there is one)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="answers that are read together")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Score pairs with a reward model: accuracy and margins, by file and by difference of scores."""
    from ..checks.data.pairs import read_pairs
    from ..checks.quiet import quiet
    from ..reward_model.accuracy import summary
    from ..reward_model.settings import read_settings

    given: dict[str, Any] = {key: value for key in ("base", "template") if (value := getattr(args, key)) is not None}
    skipped: list[str] = []
    try:
        if args.batch_size < 1:
            raise ValueError(f"--batch-size {args.batch_size} is not allowed, it must be at least 1")
        read_settings(args.rm, given)
        with quiet():
            pairs = [
                pair
                for name in args.datasets
                for pair in read_pairs(name, args.dataset_dir, args.media_dir, skipped.append)
            ]
            if not pairs:
                raise ValueError(f"{', '.join(args.datasets)}: no pair can be read{''.join(skipped[:1])}")
            found = summary(pairs, _rewards(args, given, pairs))
    except (ValueError, OSError) as error:
        print(f"resonance eval-pairs: {error}\nNext: resonance eval-pairs --help", file=sys.stderr)
        return 2
    for line in skipped[:SHOWN]:
        print(f"left out: {line}", file=sys.stderr)
    if len(skipped) > SHOWN:
        print(f"left out: {len(skipped) - SHOWN} rows more; `resonance data check` lists all", file=sys.stderr)
    if args.json:
        print(json.dumps({"reward_model": args.rm, "left_out": len(skipped), "pairs": found}, indent=2))
    else:
        print_table(
            ("pairs of", "pairs", "accuracy", *_MEANS),
            (
                (name, f"{of['pairs']:,}", f"{of['accuracy']:.1%}", *(f"{of[k]:.2f}" for k in _MEANS))
                for name, of in found.items()
            ),
        )
    return 0


def _rewards(args: argparse.Namespace, given: dict[str, Any], pairs: list[Pair]) -> list[tuple[float, float]]:
    from tqdm import tqdm

    from ..reward_model.scorer import load
    from ..rows.fields import ROW, SOURCE

    score = load(args.rm, device=args.device, batch_size=args.batch_size, **given)
    # both answers to a prompt side by side, so that it is read once
    sides: list[tuple[Any, ...]] = [
        (pair["messages"], pair[side], pair["images"]) for pair in pairs for side in ("chosen", "rejected")
    ]
    found: list[float] = []
    with tqdm(total=len(pairs), unit="pair", disable=args.json or None) as progress:  # None: no terminal
        for start in range(0, len(sides), step := max(args.batch_size // 2, 1) * 2):
            found += score(*(list(column) for column in zip(*sides[start : start + step], strict=True)))
            progress.update(len(found) // 2 - progress.n)
    if bad := [place // 2 for place, value in enumerate(found) if not math.isfinite(value)]:
        first = pairs[bad[0]]
        raise ValueError(
            f"{args.rm} gives {len(bad)} of {len(found)} answers a reward that is no finite number, the first in "
            f"{first[SOURCE]}, row {first[ROW]}: its weights are broken; take another checkpoint"
        )
    return list(zip(found[::2], found[1::2], strict=True))
