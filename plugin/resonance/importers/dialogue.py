# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Message lists as public sets write them, and the pair that two of them make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..datafiles.columns import PLACEHOLDERS
from .columns import media, structs
from .spec import Misshaped, Skip

ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}
MEDIA = {kind: PLACEHOLDERS[kind.removesuffix("_url")] for kind in ("image", "image_url", "video")}


@dataclass
class Dialogue:
    """Turns in order, and the media that sat inside them; None for an image that only a column holds."""

    turns: list[tuple[str, str]] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    videos: list[Any] = field(default_factory=list)

    def __add__(self, other: Dialogue) -> Dialogue:
        return Dialogue(self.turns + other.turns, self.images + other.images, self.videos + other.videos)


def read_dialogue(messages: Any, column: str) -> Dialogue:
    """Read a list of messages: ``role`` and ``content``, or ``from`` and ``value``.

    Args:
        messages: a list of objects, one object, or an object of lists as `datasets` makes of a sequence of structs.
            A content is text, or a list of ``{"type": "text", "text"}``, ``{"type": "image"}`` and ``{"type":
            "video"}``, of which the last two become ``<image>`` and ``<video>`` at their place. LlamaFactory's v1
            calls what a part holds ``value``.
        column: where the messages are from, for reasons.

    Raises:
        Skip: if it is not such a list, or has a role or a part of a kind that is not known.
    """
    if isinstance(messages, dict):
        messages = structs(messages) or [messages]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Misshaped(f"{column} is no list of messages", f"it is {messages!r:.60}")
    whole = Dialogue()
    for message in messages:
        role = message.get("role", message.get("from"))
        if role not in ROLES:
            raise Misshaped(f"a message of {column} has an unknown role", f"{role!r}; known are {', '.join(ROLES)}")
        text, held = _content(message.get("content", message.get("value")), column)
        whole += Dialogue([(ROLES[role], text)], held.images, held.videos)
    return whole


def _content(content: Any, column: str) -> tuple[str, Dialogue]:
    held = Dialogue()
    if isinstance(content, str):
        return content, held
    if not isinstance(content, list):
        raise Misshaped(f"a message of {column} has no text", f"its content is {content!r:.60}")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(text := part.get("text", part.get("value")), str):
            texts.append(text)
        elif kind in MEDIA:
            texts.append(MEDIA[kind])
            (held.videos if kind == "video" else held.images).append(_payload(part, kind))
        else:
            raise Misshaped(f"a message of {column} holds a part that is not known", f"{part!r:.60}")
    return "".join(texts), held


def _payload(part: dict[str, Any], kind: str) -> Any:
    payload = part.get(kind, part.get("value"))
    if isinstance(payload, dict) and "url" in payload:  # as chat APIs write it
        payload = payload["url"]
    return payload if payload is not None else part.get("path") or part.get("url")


def held_media(row: dict[str, Any], dialogue: Dialogue, name: str) -> list[Any]:
    """Those within the messages, or, where messages only mark the place, those of the row's column."""
    held = getattr(dialogue, name)
    return held if held and all(held) else media(row, name)


class Pair(NamedTuple):
    """A prompt's turns, with the media that sat inside them, and two answers to it."""

    prompt: Dialogue
    chosen: str
    rejected: str


def read_pair(prompt: Any, chosen: Any, rejected: Any) -> Pair:
    """Read a preference pair whose parts are texts or message lists.

    The two answers may repeat the prompt: turns that both begin with belong to it. Where `prompt` is a text and the
    answers bring a prompt of their own, theirs counts, as it has all turns.

    Args:
        prompt: text, messages, or None.
        chosen, rejected: text, or messages that end with the answer.

    Raises:
        Skip: if the two differ before their last turn, or there is no prompt.
    """
    sides = [
        Dialogue([("assistant", side)]) if isinstance(side, str) else read_dialogue(side, column)
        for column, side in (("chosen", chosen), ("rejected", rejected))
    ]
    shared = _shared_turns(sides[0].turns, sides[1].turns)
    answers = [side.turns[shared:] for side in sides]
    if any([role for role, _ in answer] != ["assistant"] for answer in answers):
        found = " and ".join(str(len(answer)) for answer in answers)
        raise Misshaped("chosen and rejected are not two answers to one prompt", f"{found} turns are not shared")
    if shared and (sides[0].images, sides[0].videos) != (sides[1].images, sides[1].videos):
        raise Skip("the two answers see different images", f"{len(sides[0].images)} and {len(sides[1].images)} images")
    own = Dialogue(sides[0].turns[:shared], sides[0].images, sides[0].videos)
    (_, better), (_, worse) = answers[0][0], answers[1][0]
    return Pair(_prompt(prompt, own), better, worse)


def _prompt(prompt: Any, own: Dialogue) -> Dialogue:
    if isinstance(prompt, str):
        whole = own if own.turns else Dialogue([("user", prompt)])
    else:
        given = Dialogue() if prompt is None else read_dialogue(prompt, "prompt")
        repeated = own.turns[: len(given.turns)] == given.turns
        whole = own if repeated else given + own
    if not whole.turns:
        raise Misshaped("there is no prompt", "neither a `prompt` nor turns that chosen and rejected share")
    return whole


def _shared_turns(first: list[tuple[str, str]], second: list[tuple[str, str]]) -> int:
    """How many turns two dialogues begin with alike; the last turn of each is its answer, whatever it says."""
    shared = 0
    while shared < min(len(first), len(second)) - 1 and first[shared] == second[shared]:
        shared += 1
    return shared
