# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Entry of the `resonance` command: picks a command and gives it its arguments.

Nothing here or at the top of a command's file imports torch, and a command's file is imported when it is typed.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from .. import __version__
from .commands import COMMANDS, GROUPS, inner
from .help import HelpFormatter, epilog

LLAMAFACTORY = ("train", "chat", "export", "api", "webchat", "webui")  # commands of `llamafactory-cli`


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Args:
        words: what was typed; the command that they name gets its arguments, the others only their names. None: all.
    """
    parser = argparse.ArgumentParser(
        prog="resonance",
        description="Looks after Resonance, which trains inside LlamaFactory: `llamafactory-cli train recipe.yaml`.",
        usage="resonance COMMAND ...",
        epilog=overview(),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"resonance {__version__}")
    below = {"": parser.add_subparsers(dest="command", metavar="COMMAND", prog="resonance", help=argparse.SUPPRESS)}
    for name, known in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        command = below[group].add_parser(
            last, description=known.summary, formatter_class=HelpFormatter, help=known.summary if group else None
        )
        command.set_defaults(parser=command, command_name=name)
        if inner(name):
            below[name] = command.add_subparsers(dest=f"{name}_command", metavar="COMMAND", required=True)
        elif words is None or name.split() == list(words[: len(name.split())]):
            module = known.load()
            module.add_arguments(command)
            command.epilog = epilog(command.epilog, module.EXAMPLES)
    return parser


def overview() -> str:
    """All commands below the headings of their groups."""
    shown = {name: each for name, each in COMMANDS.items() if not inner(name)}
    width = max(map(len, shown))
    lines = []
    for group in GROUPS:
        lines += ["", f"{group}:"]
        lines += [f"    {name:<{width}}  {each.summary}" for name, each in shown.items() if each.group == group]
    return "\n".join([*lines[1:], "", "`resonance COMMAND --help` prints a command's options, with examples."])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; `sys.argv[1:]` if None.

    Returns:
        0 if all is well, 1 if the command found something wrong, 2 if it was called wrongly.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    outer = [name for name in COMMANDS if " " not in name]
    second = inner(argv[0]) if argv else []
    if (
        not is_known("resonance", argv[:1], outer)
        or second
        and not is_known(f"resonance {argv[0]}", argv[1:2], second)
    ):
        return 2
    parser = build_parser(argv)
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
    return run(args)


def run(args: argparse.Namespace) -> int:
    """Runs the command that was typed; a group may say what its commands' errors have in common."""
    command = COMMANDS[args.command_name].load().run
    try:
        if args.command_name != args.command:
            return COMMANDS[args.command].load().run(args, command)
        return command(args)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __package__.partition(".")[0]:
            raise
        print(f"resonance {args.command_name}: {error.name} is not installed in {sys.executable}", file=sys.stderr)
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
    if "_ARGCOMPLETE" in os.environ:
        from .completion import answer

        answer(build_parser)
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `resonance ls | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        if sys.excepthook is not sys.__excepthook__:  # of a command that trains: it says how to go on
            raise
        print(file=sys.stderr)
        code = 130
    sys.exit(code)
