# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A typed command, or the one in a shell script, taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

STAGES = ("sft", "dpo", "ppo")
_SCRIPTS = "sft.py, dpo.py or ppo.py"
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_COMPUTED = re.compile(r"\$\(\(?[^()]*\)?\)|\$\[[^\]]*\]|`[^`]*`")
_REDIRECTION = re.compile(r"\s\d?>>?\s*&?\S+")
_BETWEEN_COMMANDS = set(";&|")

Value = str | list[str]


@dataclass(frozen=True)
class Command:
    """One command line of `sft.py`, `dpo.py` or `ppo.py`.

    Attributes:
        stage: the script's.
        environment: variables that are set for it.
        launch: options of `accelerate launch`, `torchrun` or `deepspeed` by name, without dashes; empty for `python`.
        arguments: of the script by name, as typed; a flag alone is "True", several words are a list.
    """

    stage: str
    environment: dict[str, str]
    launch: dict[str, Value]
    arguments: dict[str, Value]


def read_words(words: Sequence[str]) -> Command:
    """Take the words of a command apart; one word with spaces in it is a whole command line.

    Raises:
        ValueError: no such script in it, or a word that belongs to no argument.
    """
    if len(words) == 1 and " " in words[0].strip():
        words = _split(words[0])
    if (place := _place(words)) is None:
        shown = shlex.join(words) or "no command"
        raise ValueError(f"{shown:.200}: does not run {_SCRIPTS}")
    stage = _stage(words, place)
    before = list(words[:place])
    environment = dict(word.split("=", 1) for word in before if _ASSIGNMENT.fullmatch(word))
    launcher = next(
        (i for i, word in enumerate(before) if PurePath(word).name in ("launch", "torchrun", "deepspeed")), None
    )
    launch = {} if launcher is None else dict(_options(before[launcher + 1 :]))
    launch.pop("m", None)
    return Command(stage, environment, launch, dict(_options(words[place + 1 :])))


def read_script(text: str) -> Command:
    """The command in a shell script, with the plain variables of the script put in.

    Raises:
        ValueError: the script has no such command, or several.
    """
    known: dict[str, str] = {}
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        line = _COMPUTED.sub(lambda found: re.sub(r"\s", "", found[0]), line)
        for found in _VARIABLE.finditer(line):
            line = line.replace(found[0], known.get(found[1] or found[2], found[0]))
        words = _split(line)
        if words and all(_ASSIGNMENT.fullmatch(word) or word == "export" for word in words):
            known |= dict(word.split("=", 1) for word in words if word != "export")
        elif _place(words) is not None:
            commands.append(words)
    if len(commands) != 1:
        shown = "".join(f"\n  {shlex.join(words):.100}" for words in commands)
        raise ValueError(f"{len(commands)} commands run {_SCRIPTS}, and a recipe is made of one{shown}")
    return read_words(commands[0])


def _split(line: str) -> list[str]:
    """Words of a line up to the end of its (last) command, without redirections and comments."""
    lexer = shlex.shlex(_REDIRECTION.sub("", line.replace("\\\n", " ")), posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= _BETWEEN_COMMANDS:
                if _place(words) is not None:
                    break
                words = []
            else:
                words.append(word)
    except ValueError as error:
        if any(f"{stage}.py" in line for stage in STAGES):
            raise ValueError(f"{line.strip():.200}: is no command line ({error})") from None
    return words


def _place(words: Sequence[str]) -> int | None:
    """Where the first script among words is named; None if there is none."""
    return next((index for index in range(len(words)) if _stage(words, index)), None)


def _stage(words: Sequence[str], index: int) -> str:
    """The stage of the script that a word names; empty for other words."""
    word = words[index]
    name = PurePath(word).name
    if name.endswith(".py") and name[:-3] in STAGES:
        return name[:-3]
    module = index > 0 and words[index - 1] == "-m" and word.rpartition(".")[2]
    return module if module in STAGES else ""


def _options(words: Sequence[str]) -> Iterator[tuple[str, Value]]:
    """Names and values of `--name value`, `--name=value`, `--name` and `--no_name`."""
    index = 0
    while index < len(words):
        word = words[index]
        if not _is_option(word):
            raise ValueError(f"{word!r}: belongs to no --argument")
        name, given, value = word.lstrip("-").partition("=")
        after = index + 1
        while after < len(words) and not _is_option(words[after]):
            after += 1
        values = [value] if given else list(words[index + 1 : after])
        index += 1 + (0 if given else len(values))
        yield name.replace("-", "_"), values[0] if len(values) == 1 else values or "True"


def _is_option(word: str) -> bool:
    return word.startswith("-") and not re.match(r"-[\d.]", word) and word != "-"
