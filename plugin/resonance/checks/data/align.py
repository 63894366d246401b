# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A raw row as LlamaFactory's converters will hand it on, without LlamaFactory.

LlamaFactory drops a row with wrong turns and tells only that; here the row comes with the reason. Tests compare both.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from .entry import MEDIA_COLUMNS, Entry

USER, ASSISTANT, OBSERVATION, FUNCTION, SYSTEM = "user", "assistant", "observation", "function", "system"
ASKS, ANSWERS = (USER, OBSERVATION), (ASSISTANT, FUNCTION)
BETWEEN_TOOLS = "\n</tool_response>\n<tool_response>\n"
Message = dict[str, Any]


class Unreadable(ValueError):
    """A row that LlamaFactory's converter fails on: says what is wrong with it."""


@dataclass
class Aligner:
    """Turn raw rows of an entry into aligned ones: ``_prompt _response _system _tools _images _videos _audios``.

    An aligned row has one more key, ``_broken``: why LlamaFactory drops the row, or None.
    """

    entry: Entry
    _places: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tags = self.entry.tags
        names = {"user_tag": USER, "assistant_tag": ASSISTANT, "observation_tag": OBSERVATION}
        names |= {"function_tag": FUNCTION, "system_tag": SYSTEM}
        self._roles = {tags[tag]: role for tag, role in names.items() if tags[tag] is not None}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the aligned row.

        Raises:
            Unreadable: if the row is not made as the entry says.
        """
        tools = self._get(row, "tools", "")
        if self.entry.formatting == "alpaca":
            prompt, response, system, broken = *self._alpaca(row), self._get(row, "system", ""), None
        else:
            prompt, response, system, broken = self._messages(row)
        if self.entry.formatting == "openai":
            tools = json.dumps(tools, ensure_ascii=False) if isinstance(tools, (dict, list)) else tools
            system = thinking_off(system, tools)
        aligned = {"_prompt": prompt, "_response": response, "_system": system, "_tools": tools}
        for key in MEDIA_COLUMNS:
            aligned[f"_{key}"] = self._media(key, self._get(row, key))
        return {**aligned, "_broken": broken}

    def _get(self, row: dict[str, Any], key: str, undeclared: Any = None) -> Any:
        column = self.entry.columns.get(key)
        return undeclared if column is None else row.get(column)

    def _alpaca(self, row: dict[str, Any]) -> tuple[list[Message], list[Message]]:
        prompt = []
        history = self._get(row, "history")
        for turn in history if isinstance(history, list) else ():
            if not isinstance(turn, list) or len(turn) != 2:
                raise Unreadable(f"`history` holds {turn!r:.60}, but pairs of question and answer are needed")
            prompt += [{"role": USER, "content": turn[0]}, {"role": ASSISTANT, "content": turn[1]}]
        parts = [part for key in ("prompt", "query") if (part := self._get(row, key))]
        for part in parts:
            if not isinstance(part, str):
                raise Unreadable(f"the prompt is {type(part).__name__} {part!r:.60}, but text is needed")
        prompt.append({"role": USER, "content": "\n".join(parts)})
        return prompt, [{"role": ASSISTANT, "content": answer} for answer in self._alpaca_answers(row)]

    def _alpaca_answers(self, row: dict[str, Any]) -> list[Any]:
        label, answer = self._get(row, "kto_tag"), self._get(row, "response")
        if isinstance(label, bool):
            return [answer, ""] if label else ["", answer]
        pair = [self._get(row, "chosen"), self._get(row, "rejected")]
        if self.entry.ranking and all(isinstance(side, str) for side in pair):
            return pair
        return [answer] if isinstance(answer, str) else []

    def _messages(self, row: dict[str, Any]) -> tuple[list[Message], list[Message], Any, str | None]:
        raw = self._get(row, "messages")
        if not isinstance(raw, list):
            raise Unreadable(f"the messages are {type(raw).__name__} {raw!r:.60}, but a list is needed")
        turns = [self._message(message, turn=True) for message in raw]
        system = self._get(row, "system", "")
        if turns and turns[0]["role"] == SYSTEM:
            system, turns = turns[0]["content"], turns[1:]
        if self.entry.formatting == "openai":
            turns = merge_tools(turns)
        if broken := self._broken(turns):
            return [], [], system, broken
        label = self._get(row, "kto_tag")
        pair = [self._get(row, "chosen"), self._get(row, "rejected")]
        if isinstance(label, bool):
            empty = {"role": ASSISTANT, "content": ""}
            return turns[:-1], [*turns[-1:], empty] if label else [empty, *turns[-1:]], system, None
        if self.entry.ranking and all(isinstance(side, dict) for side in pair):
            return turns, [self._message(side) for side in pair], system, None
        reason = "chosen and rejected are not both one message" if self.entry.ranking else None
        return turns[:-1], turns[-1:], system, reason

    def _message(self, message: Any, *, turn: bool = False) -> Message:
        role_tag, content_tag = self.entry.tags["role_tag"], self.entry.tags["content_tag"]
        if not isinstance(message, dict) or role_tag not in message or content_tag not in message:
            told = (
                f"has the keys {', '.join(map(str, message))}" if isinstance(message, dict) else f"is {message!r:.60}"
            )
            raise Unreadable(f"a message {told}, but `{role_tag}` and `{content_tag}` are needed")
        tag, content = message[role_tag], message[content_tag]
        role = self._roles.get(tag) if isinstance(tag, str) else None
        if role is None:
            if turn and self.entry.formatting == "sharegpt":  # LlamaFactory drops the row, it does not fail
                return {"role": repr(tag), "content": content}
            allowed = ", ".join(map(str, self._roles))
            raise Unreadable(f"a message is from {tag!r}, but the tags of the entry are {allowed}")
        calls = message.get("tool_calls") if self.entry.formatting == "openai" else None
        if calls and role in ANSWERS:
            try:
                functions = [call["function"] for call in calls]
            except (TypeError, KeyError) as error:
                raise Unreadable(f"`tool_calls` is {calls!r:.60}, but a list with `function` is needed") from error
            return {"role": FUNCTION, "content": json.dumps(functions, ensure_ascii=False)}
        return {"role": role, "content": content}

    def _broken(self, turns: list[Message]) -> str | None:
        """Why turns do not make a conversation, or None."""
        for i, turn in enumerate(turns):
            allowed = (ASKS, ANSWERS)[i % 2]
            if turn["role"] not in allowed:
                tags = [repr(tag) for tag, role in self._roles.items() if role in allowed]
                stray = next((repr(tag) for tag, role in self._roles.items() if role == turn["role"]), turn["role"])
                return f"turn {i} is from {stray}, where {' or '.join(tags)} is needed"
        if not turns:
            return "there are no messages"
        if self.entry.ranking == (len(turns) % 2 == 0):
            last = "user" if self.entry.ranking else "assistant"
            return f"there are {len(turns)} messages, so the last one is not the {last}'s"
        return None

    def _media(self, key: str, value: Any) -> list[Any] | None:
        """Media as LlamaFactory finds them: paths below `media_dir` if they are there, else as they are written."""
        items = value if isinstance(value, list) else [] if value is None else [value]
        if not items:
            return None
        if isinstance(items[0], str):
            return [self.place(item) if isinstance(item, str) else item for item in items]
        if isinstance(items[0], list) and key != "images":  # the frames of videos
            return [[self.place(frame) for frame in item] if isinstance(item, list) else item for item in items]
        return items

    def place(self, path: Any) -> Any:
        """Where a medium lies; the file system is asked once a path."""
        if not isinstance(path, str):
            return path
        if path not in self._places:
            below = os.path.join(self.entry.media_dir, path)
            self._places[path] = below if "\0" not in path and os.path.isfile(below) else path
        return self._places[path]


def merge_tools(turns: list[Message]) -> list[Message]:
    """Make answers of several tools one turn, as LlamaFactory does; those after which nobody speaks are lost there."""
    merged: list[Message] = []
    waiting: list[str] = []
    for turn in turns:
        if turn["role"] == OBSERVATION:
            waiting.append(str(turn["content"]))
            continue
        if waiting:
            merged.append({"role": OBSERVATION, "content": BETWEEN_TOOLS.join(waiting)})
            waiting = []
        merged.append(turn)
    return merged


def thinking_off(system: Any, tools: Any) -> Any:
    """What LlamaFactory's converter of this formatting adds to a system prompt."""
    if not isinstance(system, str | None):
        return system
    if tools:
        return system + "\n" if system else system
    if not system:
        return "detailed thinking off"
    told = "detailed thinking on" in system or "detailed thinking off" in system
    return system if told else system + "\ndetailed thinking off"
