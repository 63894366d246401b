# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `resonance score` takes, and which of it suits which judge."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from ...datafiles.info import INFO

API = {"openai": "an OpenAI-compatible chat server", "resonance": "the reward protocol of docs/judges.md"}
# Options that not every judge takes -> judges that do: a judge, or an API of `http`.
SUITS = {
    "function": ("function",),
    "rm": ("rm",),
    "set": ("function", "rm"),
    **dict.fromkeys(("batch_size",), ("function", "rm", "resonance")),
    **dict.fromkeys(("url", "api"), ("openai", "resonance")),
    **dict.fromkeys(
        ("key_env", "images", "image_side", "concurrency", "rate", "timeout", "retries"), ("openai", "resonance")
    ),
    **dict.fromkeys(("model", "template", "mode", "max_tokens", "body", "token_rate"), ("openai",)),
    **dict.fromkeys(("price_in", "price_out"), ("openai",)),
    "send": ("resonance",),
}
DEFAULTS: dict[str, Any] = {
    "api": "openai",
    "set": [],
    "batch_size": 16,
    "key_env": "",
    "images": "base64",
    "image_side": 1024,
    "concurrency": 8,
    "rate": 0.0,
    "timeout": 120.0,
    "retries": 6,
    "mode": "single",
    "max_tokens": 512,
    "body": {},
    "token_rate": 0.0,
    "send": [],
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="FILE|NAME", help="pairs: a data file, or a name in dataset_info.json")
    parser.add_argument("--judge", required=True, choices=("function", "rm", "http"), help="what gives the scores")
    parser.add_argument("--dataset-dir", type=Path, default=Path("data"), metavar="DIR", help=f"folder of {INFO}")
    parser.set_defaults(info=None)
    parser.add_argument("--media-dir", metavar="DIR", help="where relative paths start; default: the dataset's folder")
    add_result(parser.add_argument_group("result"))
    add_local(parser.add_argument_group("--judge function and rm"))
    add_http(parser.add_argument_group("--judge http"))
    add_prompt(parser.add_argument_group("--judge http --api openai"))


def add_result(group: Any) -> None:
    add = group.add_argument
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the .json or .jsonl file to write")
    add("--name", metavar="NAME", help="what recipes call it; default: the output's name without its suffix")
    add("--force", action="store_true", help="write over a file, or change an entry, that exists")
    add("--overwrite", action="store_true", help="replace scores that rows have, instead of keeping them as *_before")
    add("--drop-unscored", action="store_true", help="write the file without the rows that got no score")
    add(
        "--cache",
        type=Path,
        metavar="FILE",
        help="of answers so far; default: .OUTPUT.answers.jsonl beside the output",
    )
    add("--scale", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of scores; others are none. A chat: 0 10")
    add("--dry-run", action="store_true", help="print the estimate and one whole request, ask nothing")
    add("--plot", type=Path, metavar="OUT.png", help="draw histograms")
    add("--json", action="store_true", help="print JSON")


def add_local(group: Any) -> None:
    add = group.add_argument
    add("--function", metavar="NAME", help="module:function, or a built-in reward")
    add("--rm", metavar="FOLDER", help="output_dir of a `stage: rm` run")
    what = "a parameter of the function as in `rewards:`, or base, template, device of the reward model"
    add("--set", action="append", metavar="KEY=VALUE", help=what)
    add("--batch-size", type=int, metavar="N", help="answers of a call, of --api resonance too; default: 16")


def add_http(group: Any) -> None:
    add = group.add_argument
    add("--url", metavar="URL", help="of the server, such as http://127.0.0.1:8000/v1")
    add(
        "--api",
        choices=tuple(API),
        help="; ".join(f"{name}: {what}" for name, what in API.items()) + "; default: openai",
    )
    add("--key-env", metavar="NAME", help="environment variable with the key")
    add("--rate", type=rate, metavar="N/min", help="calls a minute, further tries among them; default: no limit")
    add("--concurrency", type=int, metavar="N", help="calls at a time; default: 8")
    add("--timeout", type=float, metavar="S", help="seconds of a call; default: 120")
    add("--retries", type=int, metavar="N", help="tries after one that failed in passing (429, 5xx, ...); default: 6")
    add("--images", choices=("base64", "path", "none"), help="how pictures travel; path: resonance; default: base64")
    add("--image-side", type=int, metavar="PX", help="longest side of pictures that are sent; default: 1024")
    add("--send", nargs="+", metavar="COLUMN", help="resonance: columns of the data that go with each answer")


def add_prompt(group: Any) -> None:
    add = group.add_argument
    add("--model", metavar="NAME", help="as the server calls it")
    add("--mode", choices=("single", "pair"), help="an answer a question, or both in either order; default: single")
    add("--template", type=Path, metavar="FILE.j2", help="of the prompt; docs/scoring.md has its variables")
    add("--max-tokens", type=int, metavar="N", help="of a reply; default: 512")
    add("--body", type=body, metavar="JSON", help="further keys of a call; null takes one out, such as temperature")
    add("--token-rate", type=rate, metavar="N/min", help="tokens in a minute, as estimated; default: no limit")
    add("--price-in", type=float, metavar="P", help="price of a million tokens in")
    add("--price-out", type=float, metavar="P", help="price of a million tokens out")
    add("--yes", action="store_true", help="do not ask whether to go on at this price")


def rate(text: str) -> float:
    """Of "60" or "60/min"."""
    number = float(text.removesuffix("/min"))
    if not math.isfinite(number) or number <= 0:
        raise argparse.ArgumentTypeError(f"{text}: give a number a minute, such as 60/min")
    return number


def body(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text}: give a JSON object")
    return value


def fill(args: argparse.Namespace) -> None:
    """Put defaults where nothing was given.

    Raises:
        ValueError: all that does not suit the judge, and numbers that cannot be.
    """
    kind = args.judge if args.judge != "http" else args.api or DEFAULTS["api"]
    title = f"--judge {args.judge}" + f" --api {kind}" * (args.judge == "http")
    given = {key for key in SUITS if getattr(args, key) is not None}
    problems = [
        f"{flag(key)} is for {' and '.join(SUITS[key])}, not for {title}"
        for key in sorted(given)
        if kind not in SUITS[key]
    ]
    needed = {"function": ("function",), "rm": ("rm",), "openai": ("url", "model"), "resonance": ("url",)}[kind]
    problems += [f"{title} needs {flag(key)}" for key in needed if key not in given]
    if args.price_out is not None and args.price_in is None:
        problems.append("--price-out needs --price-in")
    if args.yes and args.price_in is None:
        problems.append("--yes is for --price-in")
    for key in ("batch_size", "image_side", "concurrency", "max_tokens"):
        if (value := getattr(args, key)) is not None and value < 1:
            problems.append(f"{flag(key)} {value} is not allowed, it must be at least 1")
    for key in ("price_in", "price_out"):
        if (value := getattr(args, key)) is not None and not (math.isfinite(value) and value >= 0):
            problems.append(f"{flag(key)} {value} is not allowed, it must be a number from 0")
    if args.scale and not (all(map(math.isfinite, args.scale)) and args.scale[0] < args.scale[1]):
        problems.append(f"--scale {args.scale[0]:g} {args.scale[1]:g}: must rise")
    if args.plot and args.plot.suffix.lower() != ".png":
        problems.append(f"--plot {args.plot}: only .png is drawn")
    if problems:
        raise ValueError("\n  ".join(problems))
    for key, value in DEFAULTS.items():
        if getattr(args, key) is None:
            setattr(args, key, value)


def flag(key: str) -> str:
    return "--" + key.replace("_", "-")
