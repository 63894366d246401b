# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The scores in a judge's reply. Strict: what could be meant otherwise is no score."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..rewards.judges.api import number_of, shown
from ..rewards.judges.chat import FENCE

# How models decline, at the beginning of what they reply.
REFUSAL = re.compile(
    r"\W*(?:(?:i'?m|i am) (?:very |so )?(?:sorry|afraid|unable)|sorry\b|i (?:cannot|can ?not|can'?t|won'?t|will not"
    r"|must decline|am not able|apologi[sz]e)|unfortunately,? i\b|as an ai\b|抱歉|对不起|很抱歉|我无法|我不能)",
    re.IGNORECASE,
)


class NoScore(ValueError):
    """Why a reply has no score that can be used."""


def wanted(names: Sequence[str], low: float, high: float) -> str:
    """What a judge is to reply, in words for it."""
    fields = ", ".join(f'"{name}": a number from {low:g} to {high:g}' for name in names)
    return f"Reply with one JSON object and nothing else: {{{fields}}}"


def scores_in(text: str, names: Sequence[str], low: float, high: float) -> tuple[tuple[float, ...], str]:
    """The scores of these names in a reply, and its reason.

    A reply is a JSON object with a number for each name, alone or in a fence, or has exactly one line such as
    "Score: 7" for each. What stands before `</think>` is passed over.

    Raises:
        NoScore: anything else; a number out of the range, or none.
    """
    text = text.rpartition("</think>")[2].strip()
    fenced = FENCE.fullmatch(text)
    try:
        verdict = json.loads(fenced[1] if fenced else text, object_pairs_hook=_once)
    except NoScore:
        raise
    except (ValueError, RecursionError):
        return tuple(_line(text, name, low, high) for name in names), text
    if not isinstance(verdict, dict):
        raise NoScore(f"it is no JSON object with {' and '.join(names)}: {shown(text)}")
    if missing := [name for name in names if name not in verdict]:
        raise NoScore(f"it has no {' and no '.join(missing)}: {shown(text)}")
    scores = tuple(_within(name, verdict[name], number_of(verdict[name]), low, high) for name in names)
    return scores, str(verdict.get("reason") or "")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise NoScore(f"it has {', '.join(twice)} twice")
    return dict(pairs)


def _line(text: str, name: str, low: float, high: float) -> float:
    words = name.replace("_", "[ _]")
    found = re.findall(rf"^[ \t*]*{words}[ \t*]*:[ \t*]*(\S.*?)[ \t*]*$", text, re.IGNORECASE | re.MULTILINE)
    if len(found) != 1:
        many = f"{len(found)} lines" if found else "neither a JSON object nor a line"
        raise NoScore(f'it has {many} with "{name}": {shown(text)}')
    number = float(found[0]) if re.fullmatch(r"[+-]?\d+(\.\d+)?", found[0], re.ASCII) else None
    return _within(name, found[0], number, low, high)


def _within(name: str, given: Any, number: float | None, low: float, high: float) -> float:
    if number is None or not low <= number <= high:
        raise NoScore(f"{name} is {given!r:.60}, but a number from {low:g} to {high:g} is needed")
    return number
