# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From the options of `resonance score` to a judge."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...scoring.types import Judge
    from ...wire import Pace


def judge_of(args: argparse.Namespace, known: Collection[str], pace: Pace) -> Judge:
    """The judge.

    Args:
        args: of the command, filled.
        known: columns of the data.
        pace: of calls.

    Raises:
        ValueError: all that is wrong with it.
    """
    if args.judge == "http":
        return http_judge(args, known, pace)
    import yaml

    from ...scoring.functions import function_judge, model_judge

    pairs = [each.partition("=") for each in args.set]
    if wrong := [f"{name}{equals}{value}" for name, equals, value in pairs if not name or not equals]:
        raise ValueError(f"--set {wrong[0]}: write KEY=VALUE")
    try:
        params = {name: yaml.safe_load(value) for name, _, value in pairs}
    except yaml.YAMLError as error:
        raise ValueError(f"--set: a value is not YAML ({error}); quote it") from error
    scale = tuple(args.scale) if args.scale else None
    if args.judge == "rm":
        return model_judge(args.rm, params, args.batch_size, scale)
    return function_judge(args.function, params, known, args.batch_size, scale)


def http_judge(args: argparse.Namespace, known: Collection[str], pace: Pace) -> Judge:
    """A server; an entry of `rewards:` with the same keys is checked in the same way."""
    from ...rewards.judges import read_judge
    from ...scoring.chat import ChatJudge
    from ...scoring.own import OwnJudge
    from ...scoring.template import Template
    from ...wire import Client

    keys = ("timeout", "retries", "concurrency", "key_env", "images")
    entry: dict[str, Any] = {"api": args.api} | {key: getattr(args, key) for key in keys}
    if args.api == "openai":
        more = {key: value for key, value in args.body.items() if key != "max_tokens"}  # which null may take out
        entry |= {"model": args.model, "max_tokens": args.max_tokens, "body": more}
    else:
        entry |= {"columns": list(args.send), "batch_size": args.batch_size}
    checked, problems = read_judge(args.url, entry, set(known))
    if checked is None:
        raise ValueError("\n  ".join(f"--judge http: {problem}" for problem in problems))
    template = (
        Template.of(args.template, args.mode, tuple(args.scale or (0.0, 10.0))) if args.api == "openai" else None
    )
    client = Client(
        args.url,
        timeout=args.timeout,
        retries=args.retries,
        concurrency=args.concurrency,
        key_env=args.key_env,
        pace=pace,
    )
    if template is not None:
        body = {"max_tokens": args.max_tokens, **args.body}
        return ChatJudge(client, args.model, template, args.images, args.image_side, body, args.concurrency)
    scale = tuple(args.scale) if args.scale else None
    return OwnJudge(client, checked.api, args.images, args.image_side, scale, args.concurrency)  # type: ignore[arg-type]
