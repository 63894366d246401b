# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A raw row as LlamaFactory's own converter returns it, and why it drops or fails on a row, which it does not log.

LlamaFactory is imported when the first row is aligned.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from ..quiet import quiet
from .entry import Entry
from .prompts import as_prompt

Row = dict[str, Any]


class Unreadable(ValueError):
    """A row that LlamaFactory's converter fails on: says what is wrong with it."""


@dataclass
class Aligner:
    """Turn raw rows of an entry into aligned ones: ``_prompt _response _system _tools _images _videos _audios``.

    An aligned row has more keys. ``_broken``: why LlamaFactory drops the row, or None; ``_beside``: its values in the
    columns of `beside`, media that nobody reads; a prompt has ``_answer``.
    """

    entry: Entry
    beside: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._absent = dict.fromkeys(self.entry.columns.values())  # as `datasets` fills up rows

    @cached_property
    def _convert(self) -> Callable[[Row], Row]:
        try:
            with quiet():
                from llamafactory.data.converter import get_dataset_converter
                from llamafactory.data.parser import DatasetAttr
        except ImportError as error:
            raise ValueError(f"LlamaFactory, by which rows are judged, cannot be imported ({error})") from error

        entry, attr = self.entry, DatasetAttr("file", self.entry.name)
        attr.join(
            {"formatting": entry.formatting, "ranking": entry.ranking, "columns": entry.columns, "tags": entry.tags}
        )
        convert = get_dataset_converter(entry.formatting, attr, SimpleNamespace(media_dir=entry.media_dir))
        return convert if entry.prompts is None else as_prompt(convert, attr, entry.prompts)

    def __call__(self, row: Row) -> Row:
        """Return the aligned row.

        Raises:
            Unreadable: if the row is not made as the entry says.
        """
        row = {**self._absent, **row}
        if (videos := self.entry.columns.get("videos")) is not None:
            row[videos] = deepcopy(row[videos])  # the converter changes paths of frames where they stand
        convert = self._convert
        try:
            aligned = convert(row)
        except Exception as error:  # whatever it raises for rows that it was not made for
            told = self._fault(row) or f"LlamaFactory's converter fails ({type(error).__name__}: {error})"
            raise Unreadable(told) from error
        beside = [row.get(name) for name in sorted(self.beside)]
        return {**aligned, "_broken": self._why_dropped(row, aligned), "_beside": beside}

    def _fault(self, row: Row) -> str | None:
        """What a converter that failed was not made for, as far as it is known."""
        columns, tags = self.entry.columns, self.entry.tags
        given = {key: row[columns[key]] for key in columns}
        if self.entry.formatting == "alpaca":
            history = given.get("history")
            for turn in history if isinstance(history, list) else ():
                if not isinstance(turn, list) or len(turn) != 2:
                    return f"`history` holds {turn!r:.60}, but pairs of question and answer are needed"
            parts = [part for key in ("prompt", "query") if (part := given.get(key)) and not isinstance(part, str)]
            return f"the prompt is {type(parts[0]).__name__} {parts[0]!r:.60}, but text is needed" if parts else None
        messages, role, content = given.get("messages"), tags["role_tag"], tags["content_tag"]
        if not isinstance(messages, list):
            return f"the messages are {type(messages).__name__} {messages!r:.60}, but a list is needed"
        for message in (
            *messages,
            *(given[key] for key in ("chosen", "rejected") if isinstance(given.get(key), dict)),
        ):
            if not isinstance(message, dict):
                return f"a message is {message!r:.60}, but `{role}` and `{content}` are needed"
            if role not in message or content not in message:
                return (
                    f"a message has the keys {', '.join(map(str, message))}, but `{role}` and `{content}` are needed"
                )
            if message[role] not in (known := [tags[tag] for tag in tags if tag not in ("role_tag", "content_tag")]):
                return (
                    f"a message is from {message[role]!r}, but the tags of the entry are {', '.join(map(str, known))}"
                )
        return None

    def _why_dropped(self, row: Row, aligned: Row) -> str | None:
        """Why LlamaFactory made no prompt and no answers of a row, or one answer where a pair is needed."""
        entry, tags = self.entry, self.entry.tags
        if entry.formatting == "alpaca":
            return None
        if aligned["_prompt"] or aligned["_response"]:
            single = entry.ranking and len(aligned["_response"]) < 2
            return "chosen and rejected are not both one message" if single else None
        roles = self._roles(row[entry.columns["messages"]])
        allowed = ((tags["user_tag"], tags["observation_tag"]), (tags["assistant_tag"], tags["function_tag"]))
        for i, role in enumerate(roles):
            if role not in allowed[i % 2]:
                wanted = " or ".join(repr(tag) for tag in allowed[i % 2] if tag is not None)
                return f"turn {i} is from {role!r}, where {wanted} is needed"
        last = "user" if entry.ranking else "assistant"
        many = f"there are {len(roles)} messages, so the last one is not the {last}'s"
        return many if roles else "there are no messages"

    def _roles(self, messages: list[Row]) -> list[Any]:
        """The tags of the turns that LlamaFactory sees, without the system's; `openai` has one a run of tools."""
        tags: dict[str, Any] = self.entry.tags
        key, tool = tags["role_tag"], tags["observation_tag"]
        turns = messages[1:] if messages and messages[0][key] == tags["system_tag"] else messages
        if self.entry.formatting != "openai":
            return [turn[key] for turn in turns]
        roles = [tags["function_tag"] if turn.get("tool_calls") else turn[key] for turn in turns]
        return [role for i, role in enumerate(roles) if role != tool or roles[i + 1 : i + 2] not in ([], [tool])]
