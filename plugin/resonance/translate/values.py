# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What typed values mean."""

from __future__ import annotations

from typing import Any

from .words import Value

_SPELLINGS = dict.fromkeys(("true", "yes", "t", "y", "1"), True) | dict.fromkeys(("false", "no", "f", "n", "0"), False)


def plain(given: Value) -> Any:
    """A number, True or False, or the text; lists stay lists."""
    if isinstance(given, list):
        return [plain(each) for each in given]
    if given in ("True", "true", "False", "false"):
        return given.lower() == "true"
    for read in (int, float):
        try:
            return read(given)
        except ValueError:
            continue
    return given


def switch(given: Value) -> bool:
    """A truth value, in the spellings of HfArgumentParser.

    Raises:
        ValueError: it is none.
    """
    text = given.lower() if isinstance(given, str) else ""
    if text not in _SPELLINGS:
        raise ValueError(f"{given!r} is neither True nor False")
    return _SPELLINGS[text]


def names(given: Value) -> str:
    """Names with commas."""
    return ",".join(each.strip() for each in (given if isinstance(given, list) else given.split(",")))


def attention(given: Value) -> str:
    """`flash_attn` of a yes or no."""
    return "fa2" if switch(given) else "auto"


def negated(given: Value) -> bool:
    """The other truth value."""
    return not switch(given)
