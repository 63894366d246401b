# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance export-check`: whether a saved model is, for other programs, the one that was trained."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..evaluate.export import Result
    from ..evaluate.trained import Trained

ROWS = 8

EXAMPLES = (
    "resonance export-check saves/uni_dpo",
    "resonance export-check saves/uni_dpo_lora --merged saves/uni_dpo_merged",
    "resonance export-check saves/uni_dpo --url http://127.0.0.1:8000",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="output_dir of a run, or one of its checkpoints")
    parser.add_argument("--merged", metavar="DIR", help="what `llamafactory-cli export` made of it; is checked, too")
    parser.add_argument("--url", metavar="URL", help="of a vLLM server of it, or of the merged model; is asked, too")
    parser.add_argument("--served-model", metavar="NAME", help="of the server's models; default: the first")
    parser.add_argument("--key-env", default="", metavar="VARIABLE", help="environment variable with the server's key")
    parser.add_argument("--data", metavar="DATASET", help="pairs; default: those that the run evaluated or trained on")
    parser.add_argument("--dataset-dir", metavar="DIR", help="of dataset_info.json; default: the run's, or data")
    parser.add_argument("--media-dir", metavar="DIR", help="where relative paths start; default: the run's")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="pairs that are compared")
    parser.add_argument("--base", metavar="MODEL", help="of an adapter, if it is no longer where it was trained from")
    parser.add_argument("--template", metavar="NAME", help="of a model that no run of ours has left")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda:1, ...; default: the GPU, if there is one")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Load a saved model as other programs do, and compare files, names, prompts and log-probabilities."""
    from ..checks.quiet import quiet
    from ..evaluate.trained import read_trained

    given = {key: value for key in ("base", "template") if (value := getattr(args, key)) is not None}
    try:
        if args.rows < 1:
            raise ValueError(f"--rows {args.rows} is not allowed, it must be at least 1")
        _check_server(args)
        trained = read_trained(args.run, given)
        if not Path(args.run).is_dir():
            raise ValueError(f"{args.run} is a model of the hub; give the output_dir of a run")
        if args.merged and not Path(args.merged, "config.json").is_file():
            raise ValueError(f"--merged {args.merged}: no config.json is there, so it holds no model")
        with quiet():
            results = list(_results(args, trained))
    except (ValueError, OSError) as error:
        print(f"resonance export-check: {error}\nNext: resonance export-check --help", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps([result._asdict() for result in results], indent=2))
    else:
        for result in results:
            print(f"{'PASS' if result.passed else 'FAIL'}  {result.where}: {result.what}: {result.found}")
    return 0 if all(result.passed for result in results) else 1


def _check_server(args: argparse.Namespace) -> None:
    """ValueError for what is wrong with a server's options, before a model is loaded."""
    from ..wire import checked_host, key_in

    if not args.url and (args.served_model or args.key_env):
        raise ValueError("--served-model and --key-env belong to --url")
    if args.url:
        checked_host(args.url)
        key_in(args.key_env)


def _results(args: argparse.Namespace, trained: Trained) -> Iterator[Result]:
    from ..evaluate import export
    from ..evaluate.outside import Outside
    from ..evaluate.policy import load
    from ..evaluate.served import Server, check_server

    pairs = _pairs(args, trained)
    policy = load(trained, device=args.device, allow_missing_weights=True)  # they are reported below
    logps = policy(pairs, reference=False)
    outside = None
    for folder in (args.run, *([args.merged] if args.merged else [])):
        yield from export.check_files(folder, policy, whole=folder == args.merged or not trained.is_adapter)
        try:
            outside = Outside(folder, trained, policy.model.device)
        except Exception as error:  # whatever a library makes of a broken folder
            yield export.Result(False, folder, "loading", f"{type(error).__name__}: {error}")
            continue
        yield from export.check_names(outside, trained)
        prompts = list(export.check_prompts(outside, policy, pairs))
        yield from prompts
        if all(result.passed for result in prompts):
            yield from export.check_logps(outside, policy, pairs, logps)
    if args.url and outside is not None:
        yield check_server(Server(args.url, args.served_model, args.key_env), outside, policy, pairs)


def _pairs(args: argparse.Namespace, trained: Trained) -> list[dict[str, Any]]:
    """The first rows of the set that is given, or else of the run's."""
    from ..checks.data.pairs import read_pairs

    recipe = trained.recipe
    named = args.data or recipe.get("eval_dataset") or recipe.get("dataset")
    if not named:
        raise ValueError(f"{args.run} leaves no recipe that names its data; give --data")
    name = named[0] if isinstance(named, list) else str(named).split(",")[0].strip()
    folder = args.dataset_dir or recipe.get("dataset_dir") or "data"
    skipped: list[str] = []
    found = read_pairs(name, folder, args.media_dir or recipe.get("media_dir"), skipped.append)
    pairs = list(islice(found, args.rows))
    if not pairs:
        raise ValueError(f"{name}: no pair can be read{''.join(skipped[:1])}; give --data")
    return pairs
