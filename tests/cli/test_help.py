# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The table of commands, and the one voice of their `--help`."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

import resonance.cli
from resonance.cli.commands import COMMANDS, GROUPS, inner
from resonance.cli.main import build_parser, main

CLI = Path(resonance.cli.__file__).parent
SINGLE = [name for name in COMMANDS if not inner(name)]


def options_of(name: str) -> list[argparse.Action]:
    """What a command takes, without running its parser, which may want arguments."""
    parser = build_parser(name.split())
    for word in name.split():
        (below,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
        parser = below.choices[word]
    return [each for each in parser._actions if each.dest != "help"]


def test_every_file_of_a_command_is_in_the_table() -> None:
    files = {
        ".".join(path.relative_to(CLI).with_suffix("").parts)
        for path in CLI.rglob("*.py")
        if re.search(r"^def add_arguments\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    missing = files - {each.module for each in COMMANDS.values()}
    assert not missing, f"add to COMMANDS in cli/commands.py: {missing}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_docstring_says(name: str) -> None:
    command = COMMANDS[name]
    summary = command.load().run.__doc__.partition("\n")[0]
    assert command.summary == summary, f"cli/commands.py: write {summary!r} in the row of {name!r}"
    assert command.group in GROUPS


@pytest.mark.parametrize("name", SINGLE)
def test_every_example_can_be_typed(name: str) -> None:
    module = COMMANDS[name].load()
    assert 1 <= len(getattr(module, "EXAMPLES", ())) <= 5, (
        f"{module.__file__}: give 2 to 4 lines as typed: EXAMPLES = ('resonance {name} ...', ...)"
    )
    for line in module.EXAMPLES:
        words = shlex.split(line, comments=True)
        typed = words[words.index("resonance") + 1 :]
        assert typed[: len(name.split())] == name.split(), line
        try:
            _, unknown = build_parser(typed).parse_known_args(typed)
        except SystemExit:
            pytest.fail(f"{line!r} of {module.__file__} is not what the command takes")
        assert not unknown, line


@pytest.mark.parametrize("name", SINGLE)
def test_one_voice(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: resonance {name} ")
    assert text.rstrip().rpartition("examples:\n")[2].startswith("  ")
    for option in options_of(name):
        assert option.help, f"resonance {name} {option.option_strings or option.dest}: has no help"
        takes = option.nargs != 0 and not option.choices
        assert option.metavar or not takes, f"resonance {name} {option.option_strings or option.dest}: has no metavar"
        default = option.default
        if option.option_strings and takes and default not in (None, "", []):
            shown = " ".join(text.split())
            assert f"(default: {default}" in shown or "default" in option.help, option.option_strings


def test_the_overview_has_every_command_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for group in GROUPS:
        assert f"\n{group}:\n    " in text
    assert all(f"    {name} " in text for name in SINGLE)
