# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Entry of the `resonance` command: picks a command and gives it its arguments.

Nothing here or at the top of a command's file imports torch: `resonance ls` answers at once.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from .. import __version__
from . import (
    compare,
    cp,
    data,
    doctor,
    estimate,
    eval_config,
    eval_pairs,
    export_check,
    import_args,
    losses,
    ls,
    precompute,
    report,
    rollout_check,
    score,
    serve_reward,
    validate,
)

COMMANDS = {
    "data": data,
    "doctor": doctor,
    "validate": validate,
    "estimate": estimate,
    "precompute": precompute,
    "rollout-check": rollout_check,
    "compare": compare,
    "report": report,
    "serve-reward": serve_reward,
    "eval-pairs": eval_pairs,
    "eval-config": eval_config,
    "export-check": export_check,
    "score": score,
    "losses": losses,
    "ls": ls,
    "cp": cp,
    "import-args": import_args,
}


LLAMAFACTORY = ("train", "chat", "export", "api", "webchat", "webui")  # commands of `llamafactory-cli`


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="resonance",
        description="Looks after Resonance, which trains inside LlamaFactory: `llamafactory-cli train recipe.yaml`.",
    )
    parser.add_argument("--version", action="version", version=f"resonance {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = (module.run.__doc__ or "").partition("\n")[0]
        command = subparsers.add_parser(name, help=summary, description=summary)
        command.set_defaults(parser=command)
        module.add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; `sys.argv[1:]` if None.

    Returns:
        0 if all is well, 1 if the command found something wrong, 2 if it was called wrongly.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    inner = data.COMMANDS if argv[:1] == ["data"] else {}
    if not is_known("resonance", argv[:1], COMMANDS) or inner and not is_known("resonance data", argv[1:2], inner):
        return 2
    parser = build_parser()
    try:
        args, unknown = parser.parse_known_args(argv)
    except SystemExit as stop:  # argparse has printed what was wrong, or the help, or the version
        return int(stop.code or 0)
    if unknown:
        print(unknown_words(args.parser if args.command else parser, unknown), file=sys.stderr)
        return 2
    if args.command is None:
        parser.print_help()
        return 0
    args.typed = argv  # for commands that say how to type them once more
    try:
        return COMMANDS[args.command].run(args)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __package__.partition(".")[0]:
            raise
        print(f"resonance {args.command}: {error.name} is not installed in {sys.executable}", file=sys.stderr)
        print("Next: resonance doctor", file=sys.stderr)
        return 1


def is_known(program: str, word: list[str], commands: Iterable[str]) -> bool:
    """Whether a word is a command, an option or left out; if not, names the nearest ones."""
    if not word or word[0].startswith("-") or word[0] in commands:
        return True
    nearest = get_close_matches(word[0], commands, n=len(list(commands)), cutoff=0.0)
    print(f"{program}: no command {word[0]!r}; there are: {', '.join(nearest)}", file=sys.stderr)
    other = word[0] in LLAMAFACTORY and program == "resonance"
    print(f"Next: {f'llamafactory-cli {word[0]}' if other else f'{program} {nearest[0]}'} --help", file=sys.stderr)
    return False


def unknown_words(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> str:
    """What a command was given that it does not take, with the nearest option, and where all are listed."""
    options = set(re.findall(r"--[a-z][a-z-]*", parser.format_help()))
    wrong = [word for word in unknown if word.startswith("-")] or unknown[:1]
    near = [hit for word in wrong for hit in get_close_matches(word.partition("=")[0], options, n=1)]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{parser.prog}: does not take {' '.join(wrong)}{meant}\nNext: {parser.prog} --help"


def entry() -> None:
    """The console script."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `resonance ls | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
