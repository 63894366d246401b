# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance eval-config`: benchmarks for a model, as VLMEvalKit and lmms-eval take them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluate.trained import Trained

EXAMPLES = (
    "resonance eval-config saves/uni_dpo",
    "resonance eval-config saves/uni_dpo_lora --merged saves/uni_dpo_merged --suite uni_dpo",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="output_dir of a run, one of its checkpoints, or a whole model")
    parser.add_argument("--suite", default="uni_dpo", metavar="NAME", help="benchmarks; default: uni_dpo")
    parser.add_argument(
        "--merged", metavar="DIR", help="where an adapter is, or is to be, merged into its base; default: RUN-merged"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="default: RUN/vlmevalkit_SUITE.json")
    parser.add_argument("--base", metavar="MODEL", help="of an adapter, if it is no longer where it was trained from")
    parser.add_argument("--template", metavar="NAME", help="of a model that no run of ours has left")


def run(args: argparse.Namespace) -> int:
    """Write a VLMEvalKit configuration for a model, and print the commands of VLMEvalKit and lmms-eval."""
    from ..checks.quiet import quiet
    from ..evaluate.handoff import commands, config_of, export_command
    from ..evaluate.suites import SUITES
    from ..evaluate.trained import read_trained

    given = {key: value for key in ("base", "template") if (value := getattr(args, key)) is not None}
    try:
        if args.suite not in SUITES:
            known = "; ".join(f"{name} ({suite.paper})" for name, suite in SUITES.items())
            raise ValueError(f"--suite {args.suite}: there is no such suite; there are: {known}")
        trained = read_trained(args.run, given)
        folder = _whole(args, trained)
        with quiet():
            found, system, difference = _asked(trained, folder)
        suite = SUITES[args.suite]
        config = config_of(trained, folder, found, suite, system)
        path = args.output or Path(args.run, f"vlmevalkit_{args.suite}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if config is not None:
            path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"resonance eval-config: {error}\nNext: resonance eval-config --help", file=sys.stderr)
        return 2
    print(f"suite {args.suite}: {suite.paper}; {len(suite.benchmarks)} benchmarks")
    print(f"-> {path}" if config is not None else f"VLMEvalKit has no class for {found} models of Transformers")
    if suite.note:
        print(f"note: {suite.note}")
    if difference is not None:
        print(f"WARNING: prompts of the evaluation are not those of the training, {difference}")
        print(f"  Replace chat_template.jinja in {folder} by one that writes them like template {trained.template}:")
        print("  for a base model, that of its Instruct model. Then run this command again.")
    if trained.is_adapter and not Path(folder, "config.json").is_file():
        print(f"\n# neither program loads adapters: merge it first\n{shlex.join(export_command(trained, folder))}")
    for title, words in commands(folder, found, suite, system, path):
        print(f"\n# {title}\n{shlex.join(words)}")
    return 1 if difference is not None else 0


def _whole(args: argparse.Namespace, trained: Trained) -> str:
    """The folder, or model of the hub, that the programs are to load."""
    if trained.is_adapter:
        return str(Path(args.merged or f"{args.run.rstrip('/')}-merged").absolute())
    if args.merged:
        raise ValueError(f"--merged {args.merged}: {args.run} is a whole model, which needs no merging")
    return str(Path(args.run).absolute()) if Path(args.run).is_dir() else args.run


def _asked(trained: Trained, folder: str) -> tuple[str, str, str | None]:
    """The kind of the model, its system message, and where its chat template and the training's part.

    Of the merged model, or of the base, whose tokenizer and processor it will get.
    """
    from transformers import AutoConfig, AutoProcessor

    from ..evaluate.handoff import probe
    from ..evaluate.outside import prompt_difference
    from ..evaluate.policy import prepared

    place = folder if Path(folder, "config.json").is_file() else str(trained.settings.base)
    kind = str(AutoConfig.from_pretrained(trained.settings.base or folder).model_type)
    _, _, writer = prepared(trained)
    difference = prompt_difference(AutoProcessor.from_pretrained(place), writer, probe(writer.processor is not None))
    return kind, str(writer.template.default_system), difference
