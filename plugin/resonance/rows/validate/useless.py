# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which aligned rows teach nothing, and are left out. Standard library only."""

from __future__ import annotations

from ..fields import own_answer
from ..types import Row
from .findings import EMPTY_PROMPT, EMPTY_RESPONSE, IDENTICAL_PAIR, INVALID_TURNS

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


def prompt_skip_reason(row: Row) -> str | None:
    """Return why a row is no prompt: turns that do not alternate, or a question without text."""
    prompt = row["_prompt"]
    if len(prompt) % 2 != 1 or any(message["content"] is None for message in prompt):
        return INVALID_TURNS
    return EMPTY_PROMPT if isinstance(prompt[-1]["content"], str) and not prompt[-1]["content"].strip() else None


def feedback_skip_reason(row: Row) -> str | None:
    """Return why a row is no judged answer, beside which LlamaFactory puts an empty one.

    It puts none where the tag is neither true nor false, which stops the run (`raw_columns`).
    """
    response = row["_response"]
    if len(row["_prompt"]) % 2 != 1 or not response:
        return INVALID_TURNS
    answer = own_answer(response)
    if answer["role"] not in ANSWER_ROLES or any(message["content"] is None for message in row["_prompt"]):
        return INVALID_TURNS
    content = answer["content"]
    return EMPTY_RESPONSE if content is None or (isinstance(content, str) and not content.strip()) else None


def answer_skip_reason(row: Row) -> str | None:
    """Return why a row is no conversation to learn: turns that do not alternate, or no answer at its end.

    One that is empty text is learned, as by LlamaFactory.
    """
    prompt, response = row["_prompt"], row["_response"]
    if len(prompt) % 2 != 1 or len(response) != 1:  # what LlamaFactory itself drops
        return INVALID_TURNS
    if any(message["content"] is None for message in prompt) or response[0]["role"] not in ANSWER_ROLES:
        return INVALID_TURNS
    return EMPTY_RESPONSE if response[0]["content"] is None else None


SKIP_REASONS = {
    "pairs": skip_reason,
    "prompts": prompt_skip_reason,
    "feedback": feedback_skip_reason,
    "answers": answer_skip_reason,
}
"""By what a row is."""
