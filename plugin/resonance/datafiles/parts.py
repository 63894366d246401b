# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a row holds, taken apart as its entry says: turns, answers, scores, media, and the rest. Reads no media."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..rows.fields import SCORE_FIELDS, number_in, score_problem
from .columns import COLUMNS, MEDIA_COLUMNS, META, PLACEHOLDERS, SIDES, TAGS
from .show import plain

NAN = math.nan


@dataclass(frozen=True)
class Answer:
    """An answer, who gave it, and its score as it stands in the row."""

    who: str
    text: str
    score: Any = None


@dataclass
class Parts:
    """A row, taken apart.

    Attributes:
        turns: (role, text) of the prompt, the system's first.
        answers: two of a pair, the chosen one first.
        label: of a labelled answer, whether it is a good one, as it stands in the row.
        media: (kind, item) as they stand in the row; kinds are MEDIA_COLUMNS.
        others: (column, text) of what no column of the entry names, and of columns for rewards.
    """

    turns: list[tuple[str, str]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    label: Any = None
    media: list[tuple[str, Any]] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)

    def texts(self) -> Iterator[str]:
        """All that a search looks at."""
        yield from (text for _, text in self.turns)
        yield from (answer.text for answer in self.answers)
        yield from (text for _, text in self.others)

    @property
    def margin(self) -> float:
        """The chosen score less the rejected one; not a number where one of them is none."""
        scores = [number_in(answer.score) for answer in self.answers]
        if len(scores) != 2 or any(map(score_problem, scores)):
            return NAN
        return float(scores[0]) - float(scores[1])


class Layout:
    """How the rows of a data set are taken apart.

    Args:
        entry: of dataset_info.json; None shows each row by its columns.

    Attributes:
        kind: "pairs", "labelled answers", "prompts", "answers" or, without an entry, "rows".
        read: the columns that the entry names, but for those that rewards read.
    """

    def __init__(self, entry: dict[str, Any] | None) -> None:
        entry = entry or {"columns": {}}
        self.columns: dict[str, Any] = entry.get("columns", COLUMNS)
        self.tags: dict[str, Any] = {**TAGS, **entry.get("tags", {})}
        self.alpaca = entry.get("formatting", "alpaca") == "alpaca"
        meta = self.columns.get(META) or []
        names = [name for key, name in self.columns.items() if key != META and isinstance(name, str)]
        self.read = set(names) - set(meta)
        if not self.columns:
            self.kind = "rows"
        elif entry.get("ranking"):
            self.kind = "pairs"
        elif "kto_tag" in self.columns:
            self.kind = "labelled answers"
        else:
            self.kind = "prompts" if meta or self.alpaca and "response" not in self.columns else "answers"

    def __call__(self, row: Any) -> Parts:
        """Take a row apart; what is not as the entry says is shown as it stands."""
        if not isinstance(row, dict):
            return Parts(others=[("row", plain(row))])
        parts = Parts()
        self._turns(row, parts)
        if self.kind == "pairs":
            for side, score in zip(SIDES, SCORE_FIELDS, strict=True):
                parts.answers.append(Answer(side, self._content(self._of(row, side)), self._of(row, score)))
        if self.kind == "labelled answers":
            parts.label = self._of(row, "kto_tag")
        for key in MEDIA_COLUMNS:
            value = self._of(row, key)
            items = value if isinstance(value, list) else [] if value is None else [value]
            parts.media += [(key, item) for item in items]
        parts.others = [(str(name), plain(value)) for name, value in row.items() if name not in self.read]
        return parts

    def _of(self, row: dict[str, Any], key: str) -> Any:
        name = self.columns.get(key)
        return row.get(name) if isinstance(name, str) else None

    def _turns(self, row: dict[str, Any], parts: Parts) -> None:
        if (system := self._of(row, "system")) not in (None, ""):
            parts.turns.append(("system", plain(system)))
        if self.alpaca:
            history = self._of(row, "history")
            for turn in history if isinstance(history, list) else ():
                texts = turn if isinstance(turn, list) else [turn]
                parts.turns += [(role, plain(text)) for role, text in zip(("user", "assistant"), texts, strict=False)]
            asked = [plain(value) for key in ("prompt", "query") if (value := self._of(row, key)) not in (None, "")]
            parts.turns += [("user", "\n".join(asked))] if asked else []
            answer = self._of(row, "response")
            if answer is not None and self.kind != "pairs":
                parts.answers.append(Answer("answer", plain(answer)))
            return
        messages = self._of(row, "messages")
        for message in messages if isinstance(messages, list) else [] if messages is None else [messages]:
            role = message.get(self.tags["role_tag"]) if isinstance(message, dict) else "message"
            parts.turns.append((plain(role), self._content(message)))
        replies = (self.tags["assistant_tag"], self.tags["function_tag"])
        if self.kind in ("answers", "labelled answers") and parts.turns and parts.turns[-1][0] in replies:
            parts.answers.append(Answer("answer", parts.turns.pop()[1]))

    def _content(self, message: Any) -> str:
        """The text of a message, or of an answer that is one; parts of text and media are joined."""
        if isinstance(message, list) and len(message) == 1:
            message = message[0]
        tag = self.tags["content_tag"]
        content = message[tag] if isinstance(message, dict) and tag in message else message
        if isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content):
            return "".join(map(_part, content))
        return "(missing)" if content is None else plain(content)


def _part(part: dict[str, Any]) -> str:
    if isinstance(part.get("text"), str):
        return part["text"]
    return PLACEHOLDERS.get(str(part["type"]).partition("_")[0], plain(part))
