# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: sets of prompts for reinforcement learning, told from their columns. Standard library only.

EasyR1 and geometry3k have `problem` or `prompt` and `answer` or `solution`; verl has `prompt` as messages and the
answer in `reward_model`, with `data_source` and `extra_info` beside it.
"""

from __future__ import annotations

import difflib
from typing import Any

from .columns import META, ROLES
from .sample import Table

GRADED = "reward_model"  # verl's object that holds the answer
# Where the answer to a prompt is, the surest first.
ANSWERS = (f"{GRADED}.ground_truth", "ground_truth", "answer", "solution")
_BESIDE = ("data_source", "extra_info")  # what verl hands to rewards as well
_ASKED = ("prompt", "problem")  # with `answer` beside them; `question` and `answer` are as often to be learned


def found_in(row: dict[str, Any], path: str) -> Any:
    """The value at "column" or "column.key" of a row, None where there is none."""
    name, _, key = path.partition(".")
    if not key or path in row:
        return row.get(path)
    return value.get(key) if isinstance(value := row.get(name), dict) else None


def take_messages(table: Table, columns: dict[str, str]) -> None:
    """Take a prompt that is a list of messages, without answers in columns of their own, for what it is."""
    if columns.keys() & {"messages", "chosen", "rejected"} or "prompt" not in columns:
        return
    if table.kind(columns["prompt"]) == "list of objects":
        columns["messages"] = columns.pop("prompt")


def take_answers(table: Table, columns: dict[str, str], given: dict[str, Any]) -> list[str]:
    """The columns of prompts that rewards are to read, an entry's `meta`; none where rows are no prompts.

    Takes them out of `columns`, where one was thought to be learned.

    Args:
        table: the first rows.
        columns: what was recognised so far.
        given: the columns that the caller names; None as a name leaves one out.

    Raises:
        ValueError: `given` names columns that there are not.
    """
    if META in given:
        meta = given[META] or []
        if missing := [name for name in meta if name not in table.names]:
            near = difflib.get_close_matches(missing[0], table.names, 1)
            hint = f"Did you mean {near[0]}?" if near else "Pass --set columns.meta=COLUMN[,COLUMN]"
            raise table.error(f"there is no column {missing[0]!r}, which {META} is to name", hint)
    elif given.keys() & {"response", "chosen", "rejected", "kto_tag"} or not _is_asked(table, columns):
        return []
    else:
        answers = [path.partition(".")[0] for path in ANSWERS if any(_values(table, path))]
        meta = list(dict.fromkeys(answers)) + [name for name in _BESIDE if answers and table.values(name)]
    if "response" not in given and columns.get("response") in meta:
        del columns["response"]
    return meta


def _is_asked(table: Table, columns: dict[str, str]) -> bool:
    """Whether rows are prompts with something to compare a completion with, instead of answers to be learned."""
    if columns.keys() & {"chosen", "rejected", "kto_tag"}:
        return False
    if "messages" in columns:
        return all(map(_ends_with_a_question, table.values(columns["messages"])))
    response = columns.get("response")
    if response is None:
        return any(any(_values(table, path)) for path in ANSWERS)
    if response != "answer":
        return False
    graded = any(_values(table, ANSWERS[0]))
    return graded or columns.get("prompt") in _ASKED or table.kind(response) != "text"


def _ends_with_a_question(messages: Any) -> bool:
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and (last.get("role") or last.get("from")) in ROLES["user_tag"]


def _values(table: Table, path: str) -> list[bool]:
    return [found_in(row, path) is not None for row in table.rows]
