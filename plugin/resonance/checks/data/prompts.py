# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Sets of prompts for `stage: ppo`: how they are told from answers to be learned, and what is asked of their rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...datafiles.prompts import ANSWERS, found_in
from ...datafiles.read import read_rows
from ...datafiles.sample import SAMPLE
from ...rows.validate.findings import EMPTY_PROMPT
from ...rows.validate.useless import prompt_skip_reason
from .kinds import Found

Row = dict[str, Any]
# An answer that is called one, and ends where its line, its tag or its braces end.
_CALLED = (
    r"(?:(?:answer|solution|ground.truth)(?:\s+is|\s*[:=>])[\s*$\"'(]*|\\boxed\{{\s*){}[\s*$\"').]*(?:$|[\n<}}]|\.\s)"
)


@dataclass(frozen=True)
class Prompts:
    """What is known of a set of prompts.

    Attributes:
        meta: the columns that its entry names for rewards.
        answer: where the answer is, "column" or "column.key"; None where no column is known for one.
    """

    meta: tuple[str, ...]
    answer: str | None

    def answer_of(self, row: Row) -> Any:
        """The answer of a raw row, None where there is none."""
        return None if self.answer is None else found_in(row, self.answer)

    def findings(self, row: Row, aligned: Row) -> Iterator[Found]:
        """Yield what rewards will miss in a row, and whether it gives its answer away."""
        for path in dict.fromkeys((*filter(None, [self.answer]), *self.meta)):
            value = found_in(row, path)
            if value is None or (isinstance(value, str) and not value.strip()):
                yield "answer missing", f"`{path}` is {'empty' if value is not None else 'missing or null'}"
        answer = re.sub(r"</?answer>", "", str(self.answer_of(row) or ""), flags=re.IGNORECASE).strip()
        texts = [message["content"] for message in aligned["_prompt"] if isinstance(message["content"], str)]
        called = re.compile(_CALLED.format(re.escape(answer)), re.IGNORECASE)
        if answer and any(map(called.search, texts)):
            yield "answer in prompt", f"`{self.answer}` {answer!r:.60} stands in the prompt"


def told_prompts(
    file: Path, formatting: str, columns: dict[str, str], tags: dict[str, str | None], meta: list[str] | None
) -> Prompts | None:
    """What is known of a set as one of prompts; None where its answers are to be learned.

    Args:
        file: of the set, the first one.
        formatting: of its entry, as are `columns` and `tags`.
        columns: that LlamaFactory reads.
        tags: of messages.
        meta: the columns for rewards that the entry names; None if it names none.
    """
    talks = formatting != "alpaca"
    if meta is None and (("messages" if talks else "prompt") not in columns or (not talks and "response" in columns)):
        return None
    rows: list[Row] = []
    with suppress(ValueError, OSError):  # the scan tells why a file cannot be read
        first = islice(read_rows(file, lambda row, what: None), SAMPLE)
        rows = [row for _, row in first if isinstance(row, dict)]
    if meta is None and talks and not (rows and all(_asks(row.get(columns["messages"]), tags) for row in rows)):
        return None
    known = [path for path in ANSWERS if meta is None or path.partition(".")[0] in meta]
    answer = next((path for path in known if any(found_in(row, path) is not None for row in rows)), None)
    return Prompts(tuple(meta or ()), answer)


def _asks(messages: Any, tags: dict[str, str | None]) -> bool:
    """Whether a conversation ends with a question."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and last.get(str(tags["role_tag"])) == tags["user_tag"]


def as_prompt(convert: Callable[[Row], Row], attr: Any, prompts: Prompts) -> Callable[[Row], Row]:
    """What aligns a row as training on prompts does: with LlamaFactory's converter, and no answer to be learned."""
    from ...rows.prompts import prompt_converter

    asked = prompt_converter(convert, attr).convert
    return lambda row: {**asked(row), "_response": [], "_answer": prompts.answer_of(row)}


def unasked(aligned: Row) -> Iterator[Found]:
    """Yield why a run leaves a prompt out, as it says itself."""
    if (reason := prompt_skip_reason(aligned)) == EMPTY_PROMPT:
        yield "no question", "the last message is empty"
    elif reason is not None:
        yield reason, "a message has no content"
