# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance completion`, and what the shell calls when Tab is pressed."""

import argparse
import os
import sys
from collections.abc import Callable

SHELLS = ("bash", "zsh", "fish")
INSTALL = """for this shell alone:   eval "$(resonance completion bash)"
for every new one:
  bash  echo 'eval "$(resonance completion bash)"' >> ~/.bashrc
  zsh   echo 'eval "$(resonance completion zsh)"' >> ~/.zshrc       (behind compinit)
  fish  resonance completion fish > ~/.config/fish/completions/resonance.fish
Tab then completes commands, options, names of recipes, data sets and losses, and files."""
EXAMPLES = ("resonance completion bash", "resonance completion fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = INSTALL
    parser.add_argument("shell", choices=SHELLS, help="for which shell")


def run(args: argparse.Namespace) -> int:
    """Print the script by which a shell completes `resonance` commands."""
    import argcomplete

    print(argcomplete.shellcode(["resonance"], shell=args.shell))
    return 0


def answer(build_parser: Callable[[list[str]], argparse.ArgumentParser]) -> None:
    """Ends the process with the words that fit what a shell asks about.

    Args:
        build_parser: makes the parser for the words that were typed.
    """
    import argcomplete

    try:
        words = argcomplete.split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
        parser = build_parser(list(words[1:]))
    except Exception as error:  # what is printed would stand in the middle of the line that is typed
        sys.exit(f"resonance completion: {error}" if "_ARC_DEBUG" in os.environ else 1)
    argcomplete.autocomplete(parser, always_complete_options="long", exclude=["-h", "--help"])
