# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rewards for what a completion says: an answer, a choice, a format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .answers import answer_text, last_number, marked_answer, normalised, plain_number, same_value
from .spec import Completions, InputError, declare_reward

Rewards = list[float | None]
THINK_AND_ANSWER = r"<think>.*?</think>\s*<answer>.*?</answer>"


def regex_problems(params: Mapping[str, Any], *names: str) -> list[str]:
    """Parameters that are no regular expressions."""
    problems = []
    for name in names:
        try:
            re.compile(params.get(name) or "")
        except (re.error, TypeError) as error:
            problems.append(f"{name}={params[name]!r} is no regular expression: {error}")
    return problems


@declare_reward(columns=("answer",), check=lambda params: regex_problems(params, "extract"))
def exact(batch: Completions, *, extract: str | None = None, normalise: bool = True) -> Rewards:
    r"""1 where the answer of a completion is the one in the data, else 0.

    The answer is what `<answer>...</answer>` or `\boxed{...}` holds, or else the whole completion. With `extract` it
    is what that regular expression finds, and it has to find one thing only: `extract: "\d"` takes "The digit is 5."
    for 5, and nothing for "5 or 6", which guesses twice.

    Args:
        batch: completions, with the column `answer`; a row whose answer is null is left out.
        extract: what the answer looks like; group 1 if there is one.
        normalise: True ignores case, spaces, and punctuation around the answer.
    """
    alike = normalised if normalise else str.strip

    def reward(completion: str, answer: object) -> float | None:
        if answer is None:
            return None
        found = {answer_text(completion)}
        if extract:
            found = {match[match.re.groups and 1] for match in re.finditer(extract, completion)}
        return float({alike(text or "") for text in found} == {alike(str(answer))})

    return [reward(*row) for row in zip(batch.completions, batch.column("answer"), strict=True)]


@declare_reward(columns=("answer",))
def numeric(batch: Completions) -> Rewards:
    """1 where the answer of a completion is the number in the data, however it is written, else 0.

    The answer is what `<answer>...</answer>` or `\\boxed{...}` holds, or else the last number of the completion. Plain
    numbers are compared exactly (1/2, 0.5 and 50% are one); where either is an expression, by math_verify if that is
    installed, else it counts as wrong.

    Args:
        batch: completions, with the column `answer`; a row whose answer is null is left out.
    """

    def reward(completion: str, answer: object) -> float | None:
        if answer is None:
            return None
        given = marked_answer(completion)
        if given is None:
            given = completion if plain_number(completion) is not None else last_number(completion) or completion
        return float(same_value(given, str(answer)))

    return [reward(*row) for row in zip(batch.completions, batch.column("answer"), strict=True)]


CHOICE_RULES = [
    re.compile(rule, re.DOTALL)
    for rule in (
        r"\W*([A-Z])\W*",  # nothing but the letter: B  (B)  B.
        r"(?i:.*\banswer(?:\s+is)?\s*:?\s*\W*)([A-Z])\b.*",  # "the answer is (B)", the last one
        r"\(?([A-Z])[.):](?:\s.*)?",  # it starts with the letter: B. because
        r"[^()]*\(([A-Z])\)[^()]*",  # one letter in brackets
    )
]


def choice_of(text: str) -> str | None:
    """The letter that a text chooses, None where it chooses none or several."""
    found = (rule.fullmatch(text.strip()) for rule in CHOICE_RULES)
    return next((match[1] for match in found if match), None)


@declare_reward(columns=("answer",))
def choice(batch: Completions) -> Rewards:
    """1 where a completion chooses the letter in the data, else 0.

    It is looked for in `<answer>...</answer>` or `\\boxed{...}` if there is one, else in the whole completion: nothing
    but the letter ("B", "(B)", "B."); or else the last "answer is B" or "answer: B"; or else a letter at the start
    ("B. A cat"); or else the only letter in brackets. Capital letters alone, as a small "a" is a word.

    Args:
        batch: completions, with the column `answer`, a letter as above; a row whose answer is null is left out.

    Raises:
        InputError: an answer that chooses no letter.
    """

    def reward(completion: str, answer: object, row: int) -> float | None:
        if answer is None:
            return None
        truth = choice_of(str(answer))
        if truth is None:
            where = f"completion {row}{batch.of(row)}"
            raise InputError(f"the answer of {where} is no choice: {answer!r}; it must be a letter like 'B'")
        return float(choice_of(answer_text(completion)) == truth)

    rows = zip(batch.completions, batch.column("answer"), range(len(batch)), strict=True)
    return [reward(*row) for row in rows]


@declare_reward("format", check=lambda params: regex_problems(params, "pattern"))
def format_(batch: Completions, *, pattern: str = THINK_AND_ANSWER) -> Rewards:
    """1 where the whole completion, without spaces around it, matches a regular expression, else 0.

    Args:
        batch: completions.
        pattern: with `.` for line breaks too. The default is EasyR1's: `<think>`, then `<answer>`.
    """
    whole = re.compile(pattern, re.DOTALL)
    return [float(whole.fullmatch(completion.strip()) is not None) for completion in batch.completions]


def _key_problems(params: Mapping[str, Any]) -> list[str]:
    keys = params.get("keys")
    right = keys is None or (isinstance(keys, list) and all(isinstance(key, str) for key in keys))
    return [] if right else [f"keys={keys!r} must be a list of names"]


@declare_reward("json", check=_key_problems)
def json_(batch: Completions, *, keys: list[str] | None = None) -> Rewards:
    """1 where a completion is valid JSON, bare or in one fenced block, else 0.

    Args:
        batch: completions.
        keys: names that must be there, which asks for an object.
    """
    return [float(_is_json(completion, keys or [])) for completion in batch.completions]


def _is_json(completion: str, keys: list[str]) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?```", completion.strip(), re.DOTALL)
    try:
        # NaN and Infinity are no JSON, though Python reads them.
        value = json.loads(fenced[1] if fenced else completion, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return not keys or (isinstance(value, dict) and set(keys) <= set(value))


def _refuse(constant: str) -> None:
    raise ValueError(constant)
