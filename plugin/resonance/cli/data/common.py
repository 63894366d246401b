# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What several commands of `resonance data` ask for alike. Room: `cli/`."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from ...datafiles.info import INFO
from ...datafiles.text import printable


def add_info(parser: argparse.ArgumentParser) -> None:
    """Where dataset_info.json is; read it with `info_path`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dataset-dir", type=Path, default=Path("data"), help=f"the folder of {INFO}; default: data")
    where.add_argument("--info", type=Path, help=f"the {INFO} itself")


def info_path(args: argparse.Namespace) -> Path:
    return args.info or args.dataset_dir / INFO


def add_scores(parser: argparse.ArgumentParser) -> None:
    """Which set, and which of its columns are scores."""
    parser.add_argument("data", metavar="FILE|NAME", help=f"a data file, or a name in {INFO}")
    parser.add_argument(
        "--columns",
        nargs=2,
        metavar=("CHOSEN", "REJECTED"),
        help="of the scores, where they cannot be told from the entry or the rows",
    )
    add_info(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .json or .jsonl file to write")


def refuse_same(source: Path, target: Path) -> None:
    """Raise ValueError if a command would write over what it reads."""
    if source.exists() and target.exists() and os.path.samefile(source, target):
        raise ValueError(f"{target}: the output is the input; give -o another name, or --in-place where there is one.")


def typed(*words: object) -> str:
    """A command to be typed next, quoted for a shell."""
    return printable(shlex.join(["resonance", "data", *map(str, words)]))


def info_options(args: argparse.Namespace) -> list[str]:
    """What a command that follows needs to find the same dataset_info.json; nothing if it is the default one."""
    path = info_path(args)
    if path == Path("data") / INFO:
        return []
    return ["--dataset-dir", str(path.parent)] if path.name == INFO else ["--info", str(path)]


def safe(text: str) -> str:
    """Lines that hold words of a data file, made fit for a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def failed(command: str, error: Exception, code: int = 1) -> int:
    """Print an error of a command, and return its exit code."""
    print(safe(f"resonance data {command}: {error}"), file=sys.stderr)
    if code == 2:
        print(f"Next: resonance data {command} --help", file=sys.stderr)
    return code
