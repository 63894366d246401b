# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which `--set` names what could not be told from the rows: the two answers of a pair, the roles of a conversation."""

from __future__ import annotations

from typing import Any

from .columns import ROLES
from .sample import Table

# Words in the names of the two answers of a pair; the second is looked for first, as it may hold the first.
_SIDE_WORDS = (
    ("preferred", "dispreferred"),
    ("better", "worse"),
    ("winner", "loser"),
    ("win", "lose"),
    ("positive", "negative"),
    ("chosen", "reject"),
    ("preferred", "other"),
)


def pair_settings(table: Table) -> list[str]:
    """What names the two answers of a pair, told by words in the names of text columns where there are any."""
    texts = [name for name in table.names if table.kind(name) == "text"]
    for better, worse in _SIDE_WORDS:
        rejected = next((name for name in texts if worse in name.lower()), None)
        chosen = next((name for name in texts if better in name.lower() and name != rejected), None)
        if chosen and rejected:
            return [f"--set columns.chosen={chosen}", f"--set columns.rejected={rejected}"]
    return ["--set columns.chosen=NAME", "--set columns.rejected=NAME"]


def role_settings(turns: list[dict[str, Any]], role: str, tags: dict[str, str], unknown: list[str]) -> str:
    """What names the unknown roles: who is missing of those that speak in turn, then who may speak first."""
    seen = {turn[role] for turn in turns}
    free = [tag for tag in ("user_tag", "assistant_tag") if tags[tag] not in seen]
    if len(unknown) > len(free) and turns[0][role] == unknown[0] and tags["system_tag"] not in seen:
        free = ["system_tag", *free]
    named = [f"--set tags.{tag}={name}" for tag, name in zip(free, unknown, strict=False)]
    rest = [f"--set tags.TAG={name}" for name in unknown[len(free) :]]
    tags_there = f", TAG one of {', '.join(ROLES)}" if rest else ""
    return f"Pass {' '.join([*named, *rest])}{tags_there}"
