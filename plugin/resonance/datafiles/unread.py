# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What of a file nobody will read: columns that no entry names, and what they look like. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .columns import MEDIA_SUFFIXES

LOOKS = {"images": "pictures", "videos": "films", "audios": "sounds"}


def media_kind(values: Iterable[Any]) -> str | None:
    """The media column, ``images``, ``videos`` or ``audios``, that values suit by their suffixes; None if none."""
    kinds = {_kind(item) for value in values for item in _items(value)}
    return kinds.pop() if len(kinds) == 1 else None


def _items(value: Any) -> Iterator[Any]:
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, list):
            yield from item
        elif item not in (None, ""):
            yield item


def _kind(item: Any) -> str | None:
    if isinstance(item, bytes):
        return "images"
    if isinstance(item, dict) and item.keys() <= {"bytes", "path"}:
        return _kind(item["path"]) if item.get("path") else "images"
    if not isinstance(item, str) or "\n" in item:
        return None
    path = item.lower().partition("?")[0] if "://" in item else item.lower()
    return next((kind for kind, suffixes in MEDIA_SUFFIXES.items() if path.endswith(suffixes)), None)


def is_rejected(name: str) -> bool:
    """Whether a column's name says that it holds the worse answer of a pair."""
    return "reject" in name.lower()


def told_unread(kinds: Mapping[str, str | None], cure: str = "") -> str:
    """``not read: id, img_path (looks like pictures)``; empty if there is nothing to tell.

    Args:
        kinds: columns that are not read, and the media column that each suits, if any.
        cure: what to do about media, with ``{key}`` for the key of ``columns`` and ``{name}`` for the column.
    """
    told = []
    for name, kind in kinds.items():
        hint = f": {cure.format(key=kind, name=name)}" if cure else ""
        told.append(f"{name} (looks like {LOOKS[kind]}{hint})" if kind else name)
    return f"not read: {', '.join(told)}" if told else ""
