# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What can be put right in a raw row without guessing. Rows are copied, never changed.

Every function takes a row and returns it as it was, or a mended copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...datafiles.columns import MEDIA_COLUMNS, PLACEHOLDERS
from ...datafiles.fix import Findable
from ...rows.fields import number_in
from .align import Aligner, Unreadable
from .columns import Columns
from .entry import Entry
from .rowfile import typed

Row = dict[str, Any]
# Kinds of problems that may be put right here; a row with another one is left out of a copy.
MENDED = {"not Unicode", "mixed column", "bad score", "bad label", "message not text", "placeholder count"}


def mend(row: Row, align: Aligner, columns: Columns) -> Row:
    """Return a row with everything put right that can be.

    Args:
        row: a raw row; a mapping.
        align: of the row's data set.
        columns: the types of the file's columns; a value takes the usual one if it can.
    """
    entry = align.entry
    row = whole_characters(row)
    row = usual_types(row, columns)
    row = typed(row, entry)
    row = plain_contents(row, entry)
    row = separators(row, entry)
    return placeholders(row, align)


def whole_characters(value: Any) -> Any:
    """Join halves of a character that belong together, and replace those that are alone by U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {whole_characters(key): whole_characters(item) for key, item in value.items()}
    return value


def usual_types(row: Row, columns: Columns) -> Row:
    """Numbers among texts become text, texts among numbers numbers, single values among lists lists of one."""
    changed: Row = {}
    for column, value in row.items():
        usual = columns.usual(column)
        if usual == "text" and type(value) in (int, float):
            changed[column] = str(value)
        elif usual == "a number" and isinstance(number_in(value), float):
            changed[column] = number_in(value)
        elif usual == "a list" and isinstance(value, (str, dict)):
            changed[column] = [value]
    return row | changed


def plain_contents(row: Row, entry: Entry) -> Row:
    """A message whose content is a number, or a list of text and image parts, gets text with placeholders."""
    tag = entry.tags["content_tag"]

    def plain(message: Any) -> Any:
        if isinstance(message, dict) and tag in message and not isinstance(message[tag], str | None):
            return {**message, tag: _flat(message[tag])}
        return message

    return _mapped(row, entry, ("messages", "chosen", "rejected"), plain) if entry.formatting != "alpaca" else row


def _mapped(row: Row, entry: Entry, keys: Iterable[str], change: Callable[[Any], Any]) -> Row:
    """A row with a change made to each value, or each element of a list, in some columns."""
    columns = [column for key in keys if row.get(column := entry.columns.get(key, "")) is not None]
    values = {column: row[column] for column in columns}
    return row | {c: [change(each) for each in v] if isinstance(v, list) else change(v) for c, v in values.items()}


def _flat(content: Any) -> Any:
    """Text of a content in parts, ``{"type": "text", "text": ...}`` and ``{"type": "image"}``; as it is if unclear."""
    if type(content) in (int, float):
        return str(content)
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in ("image", "image_url"):
            texts.append(PLACEHOLDERS["image"])
        else:
            return content
    return "".join(texts)


def separators(row: Row, entry: Entry) -> Row:
    r"""``a\b.png`` becomes ``a/b.png`` where only the latter exists."""
    is_there = Findable(Path(entry.media_dir))

    def turned(item: Any) -> Any:
        other = item.replace("\\", "/") if isinstance(item, str) else item
        return other if other != item and is_there(other) and not is_there(item) else item

    return _mapped(row, entry, MEDIA_COLUMNS, turned)


def placeholders(row: Row, align: Aligner) -> Row:
    """Put placeholders before the first question of a row that has media and no placeholder for them."""
    try:
        aligned = align(row)
    except Unreadable:
        return row
    messages = [*aligned["_prompt"], *aligned["_response"]]
    if not messages or not all(isinstance(message["content"], str) for message in messages):
        return row
    missing = ""
    for name, placeholder in PLACEHOLDERS.items():
        items = aligned[f"_{name}s"] or []
        if not any(placeholder in message["content"] for message in messages):
            missing += placeholder * len(items)
    return _in_front(row, align.entry, missing) if missing else row


def _in_front(row: Row, entry: Entry, text: str) -> Row:
    if entry.formatting == "alpaca":
        for key in ("prompt", "query"):
            column = entry.columns.get(key)
            if column is not None and row.get(column):
                return row | {column: text + row[column]}
        column = entry.columns.get("prompt")
        return row if column is None else row | {column: text}
    column, tag, content = entry.columns["messages"], entry.tags["role_tag"], entry.tags["content_tag"]
    turns = list(row[column])
    first = next((i for i, turn in enumerate(turns) if turn[tag] == entry.tags["user_tag"]), None)
    if first is None:
        return row
    turns[first] = {**turns[first], content: text + turns[first][content]}
    return row | {column: turns}
