# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance serve-reward`."""

import argparse
import sys
from pathlib import Path

EXAMPLES = (
    "resonance serve-reward saves/rm --port 8000",
    "resonance serve-reward my_rewards:concise --set limit=200",
    "resonance serve-reward exact --key-env JUDGE_KEY",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("target", metavar="TARGET", help="module:function, a built-in reward, or the folder of a reward model")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the reward, as in its entry of a recipe",
    )
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen at (default: 127.0.0.1, this machine alone)")
    add("--port", type=int, default=8000, metavar="N", help="port; 0 for a free one")
    add("--key-env", default="", metavar="NAME", help="environment variable with the key that clients must send")
    add("--media-dir", type=Path, metavar="DIR", help="the only folder from which images are read by path")
    add("--max-body-mib", type=float, default=16.0, metavar="N", help="largest request")
    add("--max-requests", type=int, default=256, metavar="N", help="requests at a time")
    add("--timeout", type=float, default=120.0, metavar="S", help="seconds that a request may take")
    batch = "completions of several requests that a reward model scores together"
    add("--batch-size", type=int, default=32, metavar="N", help=batch)


def run(args: argparse.Namespace) -> int:
    """Score completions over HTTP, for `rewards: [{url: ...}]`; docs/judges.md."""
    import yaml

    from ..serve import Limits, Options, serve

    try:
        pairs = [each.partition("=") for each in args.set]
        if wrong := [name for name, equals, _ in pairs if not name or not equals]:
            raise ValueError(f"--set {wrong[0]}: write KEY=VALUE")
        for name in ("max_body_mib", "max_requests", "timeout", "batch_size"):
            if getattr(args, name) <= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be more than 0")
        limits = Limits(int(args.max_body_mib * 2**20), args.max_requests, args.timeout, args.batch_size, 0.005)
        params = {name: yaml.safe_load(value) for name, _, value in pairs}
        options = Options(args.target, limits, params, args.host, args.port, args.key_env, args.media_dir)
        return serve(options, lambda url: print(f"Scoring by {args.target} at {url}", flush=True))
    except (ValueError, yaml.YAMLError) as error:
        print(f"resonance serve-reward: {error}\nNext: resonance serve-reward --help", file=sys.stderr)
        return 2
