# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance rollout-check`."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .terminal import waiting
from .train import add_recipe, train_command

_ALWAYS = ("rollout_check_only=true", "report_to=none", "deepspeed=null", "resume_from_checkpoint=null")
LOG = "rollout_check.log"

EXAMPLES = (
    "resonance rollout-check my_grpo.yaml --print-command   # how to start the servers",
    "resonance rollout-check my_grpo.yaml",
    "resonance rollout-check my_grpo.yaml rollout_url=http://127.0.0.1:8000",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "a recipe of stage: ppo with rollout_url (YAML or JSON)")
    parser.add_argument("--json", action="store_true", help="print one object: ok, and the lines or commands")
    parser.add_argument("--print-command", action="store_true", help="print how to start the servers, and ask nothing")


def run(args: argparse.Namespace) -> int:
    """Compare the servers that generate for a recipe with it: prompts, images, log-probabilities, new weights."""
    from ..checks.serving import read_served, serve_commands

    try:
        values = read_served(args.recipe, args.overrides)
        if args.print_command:
            commands = serve_commands(values)
            print(json.dumps({"commands": commands}, indent=2) if args.json else "\n".join(commands))
            return 0
    except ValueError as error:
        print(f"resonance rollout-check: {error}\nNext: resonance rollout-check --help", file=sys.stderr)
        return 2
    # below the run's own folder, which servers can read
    folder = Path(values["output_dir"], "rollout_check")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _check(args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def _check(args: argparse.Namespace, folder: Path) -> int:
    """Runs the recipe up to its first step, on one device."""
    from ..checks.serving import REPORT

    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    env = {name: value for name, value in os.environ.items() if name != "FORCE_TORCHRUN"}
    with (folder / LOG).open("w") as log, waiting("asking the servers", args.json):
        code = subprocess.run(
            train_command(args, *_ALWAYS, f"output_dir={folder / 'run'}"),
            env=env | {"CUDA_VISIBLE_DEVICES": device},
            stdout=log,
            stderr=subprocess.STDOUT,
        ).returncode
    report = folder / "run" / REPORT
    if code or not report.is_file():
        print((folder / LOG).read_text(errors="replace")[-3000:], file=sys.stderr)
        print(
            f"resonance rollout-check: the recipe did not get as far as its servers (exit code {code})",
            file=sys.stderr,
        )
        return 1
    lines = report.read_text(encoding="utf-8").splitlines()
    failed = any(line.startswith("FAIL") for line in lines)
    print(json.dumps({"ok": not failed, "lines": lines}, indent=2) if args.json else "\n".join(lines))
    return 1 if failed else 0
