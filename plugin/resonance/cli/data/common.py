# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What several commands of `resonance data` ask for alike."""

import argparse
import errno
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...datafiles.find import DataSet, find, same_file, scores_of
from ...datafiles.flags import SUFFIX, Flag, LostFlags, placed
from ...datafiles.info import INFO, read_info
from ...datafiles.text import printable
from ...datafiles.write import WriteError


def add_info(parser: argparse.ArgumentParser) -> None:
    """Where dataset_info.json is; read it with `info_path`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dataset-dir", type=Path, default=Path("data"), metavar="DIR", help=f"folder of {INFO}")
    where.add_argument("--info", type=Path, metavar="FILE", help=f"the {INFO} itself")


def add_data(parser: argparse.ArgumentParser, name: str, **more: Any) -> None:
    """A set by its name or file; a shell completes both."""
    parser.add_argument(name, **more).completer = completions  # type: ignore[attr-defined]


def completions(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Names of data sets that fit, and files."""
    from argcomplete.completers import FilesCompleter

    given = getattr(parsed_args, "info", None) or Path(getattr(parsed_args, "dataset_dir", None) or "data", INFO)
    names = read_info(given) if given.is_file() else {}
    return [*names, *FilesCompleter()(prefix)]


def info_path(args: argparse.Namespace) -> Path:
    return args.info or args.dataset_dir / INFO


def add_scores(parser: argparse.ArgumentParser) -> None:
    """Which set, and which of its columns are scores."""
    add_data(parser, "data", metavar="FILE|NAME", help=f"a data file, or a name in {INFO}")
    columns = "of the scores, where they cannot be told from the entry or the rows"
    parser.add_argument("--columns", nargs=2, metavar=("CHOSEN", "REJECTED"), help=columns)
    add_info(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the .json or .jsonl file to write"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that exists")


def add_flags(parser: argparse.ArgumentParser, what: str) -> None:
    """Which rows people have flagged; read them with `placed_flags`."""
    parser.add_argument("--flags", type=Path, metavar="FILE", help=f"flags of `resonance data view`: {what}")


def placed_flags(flags: Path | None, files: Iterable[Path], *view: object) -> Mapping[str, Mapping[int, Flag]]:
    """The flags that were asked for, by data file and row.

    Args:
        flags: their file; None for no flags.
        files: of the data set.
        view: arguments with which `resonance data view` shows the set.

    Raises:
        ValueError: if there is no such file, or one belongs to no row; says how to see and to forget it.
    """
    if flags is None:
        return {}
    if not flags.is_file():
        raise ValueError(f"--flags {flags}: no such file; `resonance data view` writes NAME{SUFFIX}.")
    try:
        return placed(flags, files)
    except LostFlags as error:
        shown = typed("view", *view, "--flags", flags)
        raise ValueError(f"{error}\nNext: {shown}, which lists them and can forget them") from error


def told_flags(flags: Mapping[int, Flag]) -> str:
    """How many rows are left out because of their flags, by reason."""
    reasons = Counter(flag.flag for flag in flags.values())
    return f"{len(flags)} dropped by flags ({', '.join(f'{number} {name}' for name, number in reasons.most_common())})"


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """For a machine; `what` it prints."""
    parser.add_argument("--json", action="store_true", help=f"print {what}")


def print_json(value: object) -> None:
    """Print one JSON document; numbers that JSON has not, and dates and bytes of a table, as words."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def scored_input(args: argparse.Namespace) -> tuple[DataSet, tuple[str, str]]:
    """The set and its score columns, of a command that writes a copy of it.

    Raises:
        ValueError: if they cannot be told, or the copy would be written over a file that it must not be.
    """
    data = find(args.data, info_path(args))
    refuse_same(data.file, args.output)
    refuse_existing(args.output, args.force)
    return data, scores_of(data, args.columns)


def refuse_existing(target: Path, force: bool) -> None:
    """Raise ValueError if a command would write over a file that it was not told to replace."""
    if target.is_dir():
        raise ValueError(f"{target}: is a folder; name a file in it.")
    if target.exists() and not force:
        raise ValueError(f"{target} exists; add --force to write over it, or give another name.")


def refuse_same(source: Path, target: Path) -> None:
    """Raise ValueError if a command would write over what it reads."""
    if same_file(source, target):
        raise ValueError(f"{target}: the output is the input; give -o another name, or --in-place where there is one.")


def typed(*words: object) -> str:
    """A command to be typed next, quoted for a shell."""
    return printable(shlex.join(["resonance", "data", *map(str, words)]))


def again(args: argparse.Namespace, *more: object) -> str:
    """The command as it was typed, with options added; one that was given before is overruled."""
    return printable(shlex.join(["resonance", *args.typed, *map(str, more)]))


def info_options(args: argparse.Namespace) -> list[str]:
    """What a command that follows needs to find the same dataset_info.json; nothing if it is the default one."""
    path = info_path(args)
    if path == Path("data") / INFO:
        return []
    return ["--dataset-dir", str(path.parent)] if path.name == INFO else ["--info", str(path)]


def safe(text: str) -> str:
    """Lines that hold words of a data file, made fit for a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def told(error: Exception) -> str:
    """An error in words: those of the operating system without its number, and what to do about a full disk or so."""
    if not isinstance(error, OSError) or error.filename is None:
        return str(error)
    if not isinstance(error, WriteError):
        return f"{error.filename}: {error.strerror}"
    cures = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space",
        errno.EWOULDBLOCK: "wait for it to end",
        errno.ELOOP: "look where it came from, and delete it",
        errno.ENOENT: "delete the link, or give another name",
    }
    return f"{error}\nNext: {cures.get(error.errno or 0, 'choose a file or folder that you may write')}"


class WrongCall(ValueError):
    """What was typed cannot be, whatever the files hold."""


def failed(command: str, error: Exception, code: int = 1) -> int:
    """Print what stopped a command, and return its exit code."""
    text = told(error)
    print(safe(f"resonance data {command}: {text}"), file=sys.stderr)
    if code == 2 and "Next: " not in text:
        print(f"Next: resonance data {command} --help", file=sys.stderr)
    return code
