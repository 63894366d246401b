# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""ms-swift's preference rows: a dialogue with the chosen answer, and what was rejected in place of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import scores, text, value
from .dialogue import held_media, read_pair
from .spec import Example, Importer, Options, Skip


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair: ``messages``, or ``query`` and ``response``, and ``rejected_response`` or ``_messages``."""
    rejected = value(row, "rejected_messages", "rejected_response")
    messages = value(row, "messages") if row.get("query") is None else _asked(row)
    if not isinstance(messages, list) or not messages:
        raise Skip("messages is no list of messages", repr(messages)[:60])
    if isinstance(rejected, str):
        rejected = [{"role": "assistant", "content": rejected}]
    if row.get("rejected_messages") is None:
        rejected = [*messages[:-1], *rejected] if isinstance(rejected, list) else rejected
    if row.get("rejected_images"):
        raise Skip("the two answers see different images", str(row["rejected_images"])[:80])
    pair = read_pair(None, messages, rejected)
    images, videos = (held_media(row, pair.prompt, name) for name in ("images", "videos"))
    yield Example(pair.prompt.turns, pair.chosen, pair.rejected, images=images, videos=videos, scores=scores(row))


def _asked(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a row with a query, a response and what went before them."""
    system = row.get("system")
    turns = [] if not system else [("system", system)]
    for question, answer in row.get("history") or ():
        turns += [("user", question), ("assistant", answer)]
    turns += [("user", text(row, "query")), ("assistant", text(row, "response"))]
    return [{"role": role, "content": content} for role, content in turns]


IMPORTER = Importer(
    name="ms_swift",
    summary="any set in ms-swift's preference format: messages with the chosen answer, and rejected_response",
    convert=convert,
)
