# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What makes an aligned row useless or unusable. Pure; the standard library only.

Training (`row_checker`) and `resonance data check` both judge by these functions, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..fields import PLACEHOLDERS
from ..types import Row
from .findings import EMPTY_RESPONSE, IDENTICAL_PAIR, INVALID_TURNS, Finding

ANSWER_ROLES = ("assistant", "function")


def skip_reason(row: Row) -> str | None:
    """Return why a row is no preference pair: turns that do not alternate, an empty answer, or one answer twice."""
    prompt, response = row["_prompt"], row["_response"]
    if len(prompt) % 2 != 1 or len(response) < 2:  # what LlamaFactory itself drops
        return INVALID_TURNS
    if any(message["content"] is None for message in prompt):
        return INVALID_TURNS
    if any(message["role"] not in ANSWER_ROLES for message in response[:2]):
        return INVALID_TURNS
    chosen, rejected = (message["content"] for message in response[:2])
    if any(answer is None or (isinstance(answer, str) and not answer.strip()) for answer in (chosen, rejected)):
        return EMPTY_RESPONSE
    return IDENTICAL_PAIR if chosen == rejected else None


def placeholder_findings(row: Row) -> Iterator[Finding]:
    """Compare media with placeholders, for prompt + chosen and prompt + rejected alike, as the template will."""
    for name, placeholder in PLACEHOLDERS.items():
        media = len(row[f"_{name}s"] or [])
        in_prompt = sum(message["content"].count(placeholder) for message in row["_prompt"])
        for answer, message in zip(("chosen", "rejected"), row["_response"], strict=False):
            wanted = in_prompt + message["content"].count(placeholder)
            if wanted != media:
                plural = "s" * (media != 1)
                text = f"{media} {name}{plural} but {wanted} `{placeholder}` in prompt + {answer}"
                yield Finding("placeholder count", text)
                break


def text_finding(row: Row) -> Finding | None:
    """Return the first message whose content is no text; call it on rows that are not skipped."""
    for message in (*row["_prompt"], *row["_response"][:2]):
        content = message["content"]
        if not isinstance(content, str):
            found = f"a message's content is {type(content).__name__} {content!r:.80}"
            return Finding("message not text", found)
    return None
