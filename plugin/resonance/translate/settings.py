# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A recipe as text, whose keys are changed and whose comments stay."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

# A key at the start of a line, its value, the comment behind it; a value may go on in lines that are indented.
_LINE = r"^{key}:(?P<value>[^\n#]*(?:\n[ \t-]+[^\n]*)*)(?P<comment>[ \t]#[^\n]*)?$"
_HEADER = re.compile(r"^#[^\n]*\n(?:#[^\n]*\n)*")
_TOPIC = re.compile(r"^#\s*([A-Z][A-Za-z]*):")


def line_of(key: str) -> re.Pattern[str]:
    return re.compile(_LINE.format(key=re.escape(key)), re.MULTILINE)


def get(text: str, key: str) -> str | None:
    """A key's value as it is written; None if it is not there."""
    found = line_of(key).search(text)
    return None if found is None else found["value"].strip()


def put(text: str, key: str, value: str, after: str = "") -> str:
    """The recipe with another value of a key.

    Args:
        text: the recipe.
        key: to be changed, or added if it is not there.
        value: as YAML writes it.
        after: the key that a new one comes behind; it comes last if that is not there either.
    """
    if line_of(key).search(text):
        return line_of(key).sub(lambda found: f"{key}: {value}{found['comment'] or ''}", text, count=1)
    anchor = line_of(after).search(text) if after else None
    if anchor is None:
        return f"{text.rstrip()}\n{key}: {value}\n"
    return f"{text[: anchor.end()]}\n{key}: {value}{text[anchor.end() :]}"


def drop(text: str, key: str) -> str:
    """The recipe without a key."""
    return re.sub(line_of(key).pattern + r"\n?", "", text, count=1, flags=re.MULTILINE)


def word(text: str) -> str:
    """A text as YAML writes it: quoted where it would be read as something else."""
    plain = re.fullmatch(r"[A-Za-z_./~][\w./@+,~-]*", text) and text.lower() not in (
        *("true", "false", "yes", "no", "on", "off", "null", "~", "y", "n", "."),
    )
    return text if plain else json.dumps(text, ensure_ascii=False)


def edit_header(text: str, edit: Callable[[str, str], str | None]) -> str:
    """The recipe with other topics in the comment at its top.

    Args:
        text: the recipe.
        edit: from a topic (`Command`) and its lines to other lines, or to None if it goes.
    """
    header = _HEADER.match(text)
    if header is None:
        return text
    topics: list[tuple[str, str]] = []
    for line in header[0].splitlines(keepends=True):
        if (found := _TOPIC.match(line)) or not topics:
            topics.append((found[1] if found else "", line))
        else:
            topics[-1] = topics[-1][0], topics[-1][1] + line
    kept = [edited for topic, lines in topics if (edited := edit(topic, lines)) is not None]
    return "".join(kept) + text[header.end() :]
