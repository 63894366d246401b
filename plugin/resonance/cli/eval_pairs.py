# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance eval-pairs`: how often policies, or a reward model, rank the chosen answer first."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .eval_tables import print_policies, print_rewards, write_csv

if TYPE_CHECKING:
    from ..checks.data.pairs import Pair
    from ..evaluate.accuracy import PairLogps
    from ..evaluate.trained import Trained

SHOWN = 5  # rows that were left out
DEFAULT_BETA = 0.1

EXAMPLES = (
    "resonance eval-pairs held_out --model saves/uni_dpo --model saves/dpo",
    "resonance eval-pairs held_out --model saves/uni_dpo/checkpoint-100 --ref saves/sft --csv table.csv",
    "resonance eval-pairs my_pairs --rm saves/rm",
    "resonance eval-pairs held_out.json more.json --rm saves/rm --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "datasets", nargs="+", metavar="DATASET", help="a name in dataset_info.json, or a file of pairs"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help="a policy: output_dir or checkpoint, whole model or adapter, or a base model; may be given several times",
    )
    what.add_argument("--rm", metavar="FOLDER", help="a reward model: output_dir of a `stage: rm` run")
    parser.add_argument("--ref", metavar="MODEL", help="reference of policies (default: an adapter switched off)")
    parser.add_argument(
        "--beta",
        type=float,
        metavar="NUMBER",
        help=f"of the calibration (default: pref_beta of the run, or {DEFAULT_BETA})",
    )
    parser.add_argument("--dataset-dir", default="data", metavar="DIR", help="folder of dataset_info.json")
    parser.add_argument(
        "--media-dir", metavar="DIR", help="where relative paths start (default: the dataset's folder)"
    )
    parser.add_argument("--base", metavar="MODEL", help="of adapters, if it is no longer where they were trained from")
    parser.add_argument("--template", metavar="NAME", help="of models that no run of ours has left")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda:1, ... (default: the GPU, if there is one)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="answers that are read together")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the table, too")


def run(args: argparse.Namespace) -> int:
    """Preference accuracy of policies or of a reward model: by file, by length, by difference of scores."""
    from ..checks.data.pairs import read_pairs
    from ..checks.quiet import quiet

    given: dict[str, Any] = {key: value for key in ("base", "template") if (value := getattr(args, key)) is not None}
    skipped: list[str] = []
    try:
        _check(args)
        models = _models(args, given)
        with quiet():
            pairs = [
                pair
                for name in args.datasets
                for pair in read_pairs(name, args.dataset_dir, args.media_dir, skipped.append)
            ]
            if not pairs:
                raise ValueError(f"{', '.join(args.datasets)}: no pair can be read{''.join(skipped[:1])}")
            found = _reward_model(args, given, pairs) if args.rm else _policies(args, models, pairs)
    except (ValueError, OSError) as error:
        print(f"resonance eval-pairs: {error}\nNext: resonance eval-pairs --help", file=sys.stderr)
        return 2
    for line in skipped[:SHOWN]:
        print(f"left out: {line}", file=sys.stderr)
    if len(skipped) > SHOWN:
        print(f"left out: {len(skipped) - SHOWN} rows more; `resonance data check` lists all", file=sys.stderr)
    if args.json:
        single = {"reward_model": args.rm, "pairs": found[0]["pairs"]} if args.rm else {"models": found}
        print(json.dumps({"left_out": len(skipped), **single}, indent=2))
    elif args.rm:
        print_rewards(found[0]["pairs"])
    else:
        print_policies(found)
    if args.csv is not None:
        write_csv(args.csv, found)
    return 0


def _check(args: argparse.Namespace) -> None:
    problems = [f"--{name} belongs to --model" for name in ("ref", "beta") if args.rm and getattr(args, name)]
    if args.batch_size < 1:
        problems.append(f"--batch-size {args.batch_size} is not allowed, it must be at least 1")
    if args.beta is not None and not args.beta > 0:
        problems.append(f"--beta {args.beta} is not allowed, it must be above 0")
    if args.csv is not None and not args.csv.absolute().parent.is_dir():
        problems.append(f"--csv {args.csv}: there is no folder {args.csv.parent}; make it")
    if problems:
        raise ValueError("; ".join(problems))


def _models(args: argparse.Namespace, given: dict[str, Any]) -> list[Trained]:
    """What is known of each model, before any of them is loaded; all that is missing at once."""
    from ..evaluate.trained import is_adapter, read_trained
    from ..reward_model.settings import read_settings

    if args.rm:
        read_settings(args.rm, given)
        return []
    if args.base and not any(map(is_adapter, [*args.model, args.ref or ""])):
        raise ValueError(f"--base {args.base}: none of the models is an adapter, so leave it out")
    found, problems = [], []
    for name in dict.fromkeys(args.model):
        known = given if is_adapter(name) else {key: value for key, value in given.items() if key != "base"}
        try:
            found.append(read_trained(name, known))
            if args.ref:
                _reference(args, found[-1])
        except ValueError as error:
            problems.append(str(error))
    if problems:
        cure = "; give it by --base" * any("base" in problem for problem in problems)
        cure += "; give it by --template" * any("template" in problem for problem in problems)
        raise ValueError("\n".join(dict.fromkeys(problems)) + cure)
    return found


def _policies(args: argparse.Namespace, models: list[Trained], pairs: list[Pair]) -> list[dict[str, Any]]:
    from ..evaluate.accuracy import calibration, summary

    found = []
    for trained in models:
        logps = _logps(args, trained, pairs)
        beta = args.beta or trained.beta or DEFAULT_BETA
        own = f"{trained.settings.base}, the adapter switched off" if trained.is_adapter else None
        found.append(
            {
                "model": trained.name,
                "reference": args.ref or own,
                "template": trained.template,
                "cutoff_len": trained.settings.data.get("cutoff_len"),
                "pairs": summary(pairs, logps),
                "calibration": calibration(logps, beta, mean=trained.reads_means, reference=trained.reads_reference),
            }
        )
    return found


def _logps(args: argparse.Namespace, trained: Trained, pairs: list[Pair]) -> list[PairLogps]:
    """One model's numbers, with those of the reference beside them."""
    from tqdm import tqdm

    from ..evaluate.policy import load

    def read(model: Trained, reference: bool) -> list[PairLogps]:
        policy = load(model, device=args.device, batch_size=args.batch_size)
        shown = None if not args.json else True  # None: where nobody looks
        with tqdm(total=len(pairs), unit="pair", desc=model.name, disable=shown) as progress:
            return policy(pairs, reference=reference, progress=progress.update)

    found = read(trained, reference=trained.is_adapter and not args.ref)
    if not args.ref:
        return found
    other = read(_reference(args, trained), reference=False)
    return [of.beside(its) for of, its in zip(found, other, strict=True)]


def _reference(args: argparse.Namespace, trained: Trained) -> Trained:
    """--ref, which is to read the same tokens and images as a policy."""
    from ..evaluate.trained import is_adapter, read_trained

    base = {"base": args.base} if args.base and is_adapter(args.ref) else {}
    return read_trained(args.ref, {**trained.settings.data, **trained.settings.model, **base})


def _reward_model(args: argparse.Namespace, given: dict[str, Any], pairs: list[Pair]) -> list[dict[str, Any]]:
    from ..reward_model.accuracy import summary

    return [{"model": args.rm, "pairs": summary(pairs, _rewards(args, given, pairs))}]


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
