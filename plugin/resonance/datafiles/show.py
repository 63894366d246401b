# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A row in words, for a terminal. Reads the row's media, headers only."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .columns import MEDIA_COLUMNS, TAGS
from .text import printable, shorten

LINES = 6  # of a text
Field = tuple[str, str]
"""A label and a text, which may have several lines."""


def fields(row: Any, entry: dict[str, Any] | None, media_dir: Path) -> Iterator[Field]:
    """Yield what a row holds as LlamaFactory sees it; without an entry, its columns as they are.

    Columns of the entry that the row lacks are said to be missing.
    """
    if not isinstance(row, dict):
        yield "row", f"no object but {type(row).__name__}: {sized(row)!r}"
        return
    entry = entry or {}
    columns = entry.get("columns", {name: name for name in row})
    role, content = (entry.get("tags", {}).get(tag) or TAGS[tag] for tag in ("role_tag", "content_tag"))
    for key, column in columns.items():
        if not isinstance(column, str) or key.startswith("score_"):
            continue
        label = key if key == column else f"{key} ({column})"
        if column not in row:
            yield label, "(missing)"
        elif key in MEDIA_COLUMNS:
            value = row[column]
            items = value if isinstance(value, list) else [] if value is None else [value]
            yield from ((key[:-1], _medium(item, media_dir)) for item in items)
            yield from [(key[:-1], "(none)")] * (not items)
        else:
            yield from _texts(label, row[column], role, content, _score(row, columns.get(f"score_{key}")))


def _score(row: dict[str, Any], column: str | None) -> str:
    value = row.get(column, "missing") if column is not None else None
    return "" if column is None else f" (score {f'{value:g}' if isinstance(value, float) else value})"


def _texts(label: str, value: Any, role: str, content: str, score: str) -> Iterator[Field]:
    turns = value if isinstance(value, list) else [value]
    if turns and all(isinstance(turn, dict) and content in turn for turn in turns):
        for turn in turns:
            who = f"{label}, {turn.get(role)}" if isinstance(value, list) else label
            yield f"{who}{score}", plain(turn[content])
    else:
        yield f"{label}{score}", plain(value)


def plain(value: Any) -> str:
    """A value in words, without the bytes in it: of those their size."""
    return value if isinstance(value, str) else repr(sized(value))


def sized(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{_size(io.BytesIO(value), len(value))}>"
    if isinstance(value, list):
        return [sized(item) for item in value]
    return {key: sized(item) for key, item in value.items()} if isinstance(value, dict) else value


def _medium(item: Any, media_dir: Path) -> str:
    if isinstance(item, list):  # frames of a video
        return f"{len(item)} frames: " + "; ".join(_medium(frame, media_dir) for frame in item[:2])
    if isinstance(item, dict | bytes):
        data, path = (item, None) if isinstance(item, bytes) else (item.get("bytes"), item.get("path"))
        if isinstance(data, bytes):
            return f"{path or '(no name)'}  {_size(io.BytesIO(data), len(data))}, within the row"
        item = path
    if not isinstance(item, str):
        return f"no path but {type(item).__name__} {shorten(repr(item), 60)}"
    joined = os.path.join(media_dir, item)
    found = joined if os.path.exists(joined) else item
    if not os.path.exists(found):
        return f"{item}  not there"
    if os.path.isdir(found):
        return f"{item}  a folder of {len(os.listdir(found))}"
    return f"{item}  {_size(found, os.path.getsize(found))}"


def _size(source: Any, length: int) -> str:
    """Width, height and format of an image, from its header; of anything else its length."""
    import PIL
    from PIL import Image

    from .pictures import open_image

    size = f"{length / 1024:.0f} KiB" if length >= 1024 else f"{length} bytes"
    try:
        with open_image(source) as image:
            return f"{image.width}x{image.height} {image.format}, {size}"
    except PIL.UnidentifiedImageError:
        return f"no image, {size}"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be opened ({error}), {size}"


def table(row_fields: Iterable[Field], width: int, lines: int | None = LINES) -> str:
    """Lay fields out in two columns, with control characters escaped and long texts cut.

    Args:
        row_fields: labels and texts.
        width: of the terminal, in characters.
        lines: a text may take; None shows all of it.
    """
    rows = [(printable(label), text) for label, text in row_fields]
    left = min(max((len(label) for label, _ in rows), default=0), max(width // 3, 10))
    room = max(width - left - 4, 20)
    out = []
    for label, text in rows:
        shown = text if lines is None else text[: lines * room]  # more does not fit, and wrapping is slow
        wrapped = [piece for line in shown.split("\n") for piece in _wrap(printable(line), room)]
        if lines is not None and (len(wrapped) > lines or len(shown) < len(text)):
            wrapped = [*wrapped[: lines - 1], f"... ({len(text)} characters in all)"]
        pairs = zip_longest(_wrap(label, left), wrapped, fillvalue="")
        out += [f"  {one:<{left}}  {other}".rstrip() for one, other in pairs]
    return "\n".join(out)


def _wrap(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, max(width, 1), drop_whitespace=False, replace_whitespace=False) or [""]
