# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The answer in a completion, and whether two answers are the same."""

from __future__ import annotations

import importlib.util
import re
import string
import threading
from fractions import Fraction
from functools import cache

from .limits import foreign_timers

TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
# A sign after a letter or a digit is none: 10-5 ends with 5.
NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3})?(?:\s*/\s*\d+)?")
LAST_NUMBER = re.compile(NUMBER.pattern + r"(?:\s*\\?%)?")
FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
MATH_VERIFY = "pip install math-verify"


def marked_answer(completion: str) -> str | None:
    r"""What the last `<answer>...</answer>` holds, or else the last `\boxed{...}`; None without either."""
    if found := TAG.findall(completion):
        return found[-1].strip()
    start = completion.rfind(r"\boxed{")
    if start < 0:
        return None
    depth, first = 0, start + len(r"\boxed")
    for at, letter in enumerate(completion[first:], first):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return completion[first + 1 : at].strip()
    return None


def answer_text(completion: str) -> str:
    """The marked answer, or the whole completion where none is marked."""
    marked = marked_answer(completion)
    return completion.strip() if marked is None else marked


def normalised(text: str) -> str:
    """Lower case, single spaces, and no punctuation around it: " The Cat. " is "the cat"."""
    return " ".join(text.lower().split()).strip(string.punctuation + " ")


def plain_number(text: str) -> Fraction | None:
    r"""The number that `text` is, exactly: 1,200 .5 -3e2 50% 3/4 \frac{3}{4} $12; None when it is something else."""
    text = FRACTION.sub(r"\1/\2", text.strip().strip("$").strip().rstrip("."))
    percent = text.endswith("%")
    text = text.removesuffix("%").removesuffix("\\").strip()
    if not NUMBER.fullmatch(text):
        return None
    top, _, bottom = text.replace(",", "").replace(" ", "").partition("/")
    if bottom and not int(bottom):
        return None
    return Fraction(top) / (int(bottom or 1)) / (100 if percent else 1)


def last_number(text: str) -> str | None:
    """The last number written in `text`, as it stands there, with its percent sign."""
    found = LAST_NUMBER.findall(text)
    return found[-1] if found else None


@cache
def has_math_verify() -> bool:
    """Whether expressions can be compared."""
    return importlib.util.find_spec("math_verify") is not None


def same_value(given: str, truth: str) -> bool:
    """Whether two answers are one number, or, with math_verify, one expression.

    Plain numbers are compared exactly, without math_verify: 0.5 is 1/2 and 50%, 0.333 is not 1/3.
    """
    first, second = plain_number(given), plain_number(truth)
    if first is not None and second is not None:
        return first == second
    return has_math_verify() and _same_expression(given, truth)


def _same_expression(given: str, truth: str) -> bool:
    from math_verify import parse, verify

    # math_verify stops long work by a signal, which only the main thread can take.
    main = threading.current_thread() is threading.main_thread()
    seconds = 5 if main else None
    with foreign_timers():
        parsed = [parse(f"${text.strip('$')}$", parsing_timeout=seconds) for text in (truth, given)]
        return all(parsed) and bool(verify(*parsed, timeout_seconds=seconds))
