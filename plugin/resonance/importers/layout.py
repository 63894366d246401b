# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""An example, checked and laid out as a row that LlamaFactory reads. Standard library only."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..datafiles.columns import PLACEHOLDERS
from .spec import Example, Misshaped, Skip

FROM = {"system": "system", "user": "human", "assistant": "gpt"}  # LlamaFactory's default tags
AUDIO = PLACEHOLDERS["audio"]
LISTS = ("images", "videos")


def checked(example: Example) -> Example:
    """Return the example with a placeholder for each image and video.

    Raises:
        Skip: if LlamaFactory would refuse it, drop it, or learn nothing from it.
    """
    answers = {name: text for name in ("chosen", "rejected") if (text := getattr(example, name)) is not None}
    _check_turns(example, bool(answers) or example.unanswered)
    _check_texts(example, answers)
    if example.scores is not None and not all(math.isfinite(score) for score in example.scores):
        raise Skip("a score is not finite", str(example.scores))
    for column in LISTS:
        example = _with_placeholders(example, PLACEHOLDERS[column[:-1]], len(getattr(example, column)))
    return example


def _check_turns(example: Example, asks: bool) -> None:
    roles = [role for role, _ in example.turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    in_order = all(role == ("user", "assistant")[number % 2] for number, role in enumerate(spoken))
    if not in_order or not spoken or (spoken[-1] == "user") != asks:
        wanted = "the user's question last" if asks else "the answer last"
        raise Misshaped("the turns are not user, assistant, ... in order", f"{roles}; needed: {wanted}")


def _check_texts(example: Example, answers: dict[str, str]) -> None:
    texts = [*example.turns, *answers.items()]
    if not all(isinstance(text, str) for _, text in texts):
        raise Skip("a text is not text", str([type(text).__name__ for _, text in texts]))
    for name, text in texts:
        if not text.strip() and name != "system":
            raise Skip(f"empty {name} text")
        if AUDIO in text:  # LlamaFactory would look for a sound
            raise Skip(f"{AUDIO} in the text", text[:80])
    beside = [(name, text) for name, text in example.extra.items() if isinstance(text, str)]
    for name, text in [*texts, *beside]:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Skip("text that is not valid Unicode", f"{name}: {text[:80]!a}") from None
    if answers and len(answers) < 2:
        raise Skip("only one answer", f"{', '.join(answers)} alone")
    if answers and answers["chosen"].strip() == answers["rejected"].strip():
        raise Skip("chosen and rejected are the same", answers["chosen"][:80])
    if example.scores is not None and not answers:
        raise ValueError("an example with scores has a chosen and a rejected answer")


def _with_placeholders(example: Example, placeholder: str, count: int) -> Example:
    told = {role: sum(text.count(placeholder) for who, text in example.turns if who == role) for role in FROM}
    if placeholder in (example.chosen or "") + (example.rejected or ""):
        raise Skip(f"{placeholder} in an answer", "both answers of a pair see the same: what the prompt has")
    if told["assistant"] and not told["user"]:  # an answer may write about placeholders
        raise Skip(f"{placeholder} in an answer", "none is in a question, so it may be text")
    if told["system"]:
        raise Skip(f"{placeholder} in the system text", "LlamaFactory puts none there")
    if (found := sum(told.values())) not in (0, count):
        raise Skip(f"{placeholder} does not match", f"{found} in the text, {count} in the row")
    if found == count:
        return example
    turns = list(example.turns)
    first = next(number for number, (role, _) in enumerate(turns) if role == "user")
    turns[first] = ("user", placeholder * count + turns[first][1])
    return replace(example, turns=turns)


def to_row(example: Example, layout: str) -> dict[str, Any]:
    """The row of an example whose images and videos are paths already; empty columns are left out."""
    row: dict[str, Any] = {}
    if layout == "sharegpt":
        row["conversations"] = [{"from": FROM[role], "value": text} for role, text in example.turns]
        if example.chosen is not None:
            row["chosen"] = {"from": "gpt", "value": example.chosen}
            row["rejected"] = {"from": "gpt", "value": example.rejected}
    else:
        row.update(_alpaca(example))
    for column in LISTS:
        if media := getattr(example, column):
            row[column] = media
    if example.scores is not None:
        row["score_chosen"], row["score_rejected"] = map(float, example.scores)
    if taken := row.keys() & example.extra.keys():
        raise ValueError(f"extra columns {', '.join(sorted(taken))} have the names of columns that are there")
    return row | example.extra


def _alpaca(example: Example) -> dict[str, Any]:
    turns = list(example.turns)
    system = turns.pop(0)[1] if turns[0][0] == "system" else None
    answers = {"chosen": example.chosen, "rejected": example.rejected}
    if example.chosen is None:
        answers = {} if example.unanswered else {"output": turns.pop()[1]}
    if len(turns) > 1:
        raise Skip("more than one question", f"{len(turns)} turns; an alpaca row holds one question")
    return ({} if system is None else {"system": system}) | {"instruction": turns[0][1]} | answers


def uniform(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """The row with all columns that any row has, in one order: `datasets` reads a file by what its start shows."""
    return {name: row.get(name, [] if name in LISTS else None) for name in columns}
