# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the page asks for: the set, rows that a query wants, a row, a picture; and the flags that it sends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datafiles.flags import ANSWERS, PAIRS, Flag, append, read_flags, unplaced
from ..datafiles.parts import Parts
from ..datafiles.rowindex import SORTS, Query, RowIndex
from ..datafiles.words import difference
from .pictures import named, picture

LONGEST = 300_000  # characters of a text that the page gets
NOTE = 2000  # characters of a note


@dataclass
class Session:
    """A data set that is open, and its flags.

    Args:
        name: as it was asked for.
        rows: opened.
        flags_path: where flags are read from and written to.
        media_dir: where relative paths of media start.
        problems: of rows that have some, by `data check`; None if they were not looked for.
    """

    name: str
    rows: RowIndex
    flags_path: Path
    media_dir: Path
    problems: Mapping[int, list[tuple[str, str]]] | None = None
    flags: dict[str, Flag] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.flags_path.is_file():
            self.flags = read_flags(self.flags_path)

    @property
    def reasons(self) -> tuple[str, ...]:
        return PAIRS if self.rows.layout.kind == "pairs" else ANSWERS

    @property
    def limited(self) -> bool:
        """Whether there may be more rows than are open."""
        return self.rows.limit is not None and len(self.rows) == self.rows.limit

    @property
    def lost(self) -> list[Flag]:
        """Flags that belong to no row."""
        if not self.flags or self.limited:
            return []
        known = {self.rows.hash(index) for index in range(len(self.rows))}
        return [flag for key, flag in self.flags.items() if key not in known]

    def about(self) -> dict[str, Any]:
        """The set, and what can be asked of it."""
        lost = self.lost
        return {
            "name": self.name,
            "kind": self.rows.layout.kind,
            "total": len(self.rows),
            "limited": self.limited,
            "unread": self.rows.unread,
            "first_unread": self.rows.first_unread,
            "reasons": self.reasons,
            "flags_file": str(self.flags_path),
            "flagged": len(self.flags),
            "lost": unplaced(lost) if lost else "",
            "source": self.rows.source if len(self.rows.sources) > 1 else None,
            "sources": sorted(self.rows.sources) if len(self.rows.sources) > 1 else [],
            "scored": any(not math.isnan(margin) for margin in self.rows.margins),
            "problems": None if self.problems is None else len(self.problems),
        }

    def select(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """The rows that a query wants; ValueError if it makes no sense."""
        sort = asked.get("sort", "row")
        if sort not in SORTS:
            raise ValueError(f"sort is {sort!r}; there are {', '.join(SORTS)}")
        numbers = {name: float(asked[name]) for name in ("low", "high") if asked.get(name)}
        query = Query(
            text=asked.get("text", ""),
            source=asked.get("source") or None,
            flag=asked.get("flag") or None,
            problem={"yes": True, "no": False}.get(asked.get("problem", "")),
            sort=sort,
            down=asked.get("down") == "yes",
            **numbers,
        )
        return {"rows": self.rows.select(query, self.flags, self.problems or {}), "total": len(self.rows)}

    def row(self, index: int) -> dict[str, Any]:
        """A row as the page shows it."""
        parts, (file, number) = self.rows.parts(index), self.rows.where(index)
        flag = self.flags.get(self.rows.hash(index))
        return {
            "index": index,
            "file": file.name,
            "files": len(self.rows.files),
            "number": number,
            "turns": [(role, _cut(text)) for role, text in parts.turns],
            "answers": _answers(parts),
            "label": parts.label if isinstance(parts.label, bool) or parts.label is None else repr(parts.label),
            "margin": None if math.isnan(parts.margin) else parts.margin,
            "media": [{"kind": kind, "name": named(item)} for kind, item in parts.media],
            "others": [(name, _cut(text)) for name, text in parts.others],
            "problems": (self.problems or {}).get(index, []),
            "flag": None if flag is None else {"flag": flag.flag, "note": flag.note},
        }

    def jump(self, number: int, file: str = "") -> int:
        """The row with a number in its file, or the nearest behind it that could be read."""
        for start, positions in zip(self.rows.starts, self.rows.files, strict=True):
            if positions.path.name == file or not file:
                found = next((at for at, each in enumerate(positions.numbers) if each >= number), None)
                if found is not None:
                    return start + found
        raise IndexError(f"there is no row {number}")

    def picture(self, index: int, place: int) -> bytes:
        """A medium of a row; NoPictureError if there is none to see."""
        kind, item = self.rows.parts(index).media[place]
        return picture(kind, item, self.media_dir)

    def flag(self, index: int, reason: str | None, note: str) -> dict[str, Any]:
        """Flag a row, or take its flag away (None); written before this returns."""
        if reason is not None and reason not in self.reasons:
            raise ValueError(f"flag is {reason!r}; there are {', '.join(self.reasons)}")
        if len(note) > NOTE:
            raise ValueError(f"the note has {len(note)} characters; {NOTE} are allowed")
        file, number = self.rows.where(index)
        self._write(Flag(number, file.name, self.rows.hash(index), reason, note if reason else ""))
        return {"like": len(self.rows.same(index)), "flagged": len(self.flags)}

    def forget(self) -> dict[str, Any]:
        """Take away the flags that belong to no row."""
        for lost in self.lost:
            self._write(Flag(lost.row, lost.file, lost.hash, None))
        return {"flagged": len(self.flags)}

    def _write(self, flag: Flag) -> None:
        try:
            append(self.flags_path, flag)
        except OSError as error:
            cure = "start with --flags FILE, in a folder that you may write"
            raise ValueError(f"cannot write {self.flags_path} ({error.strerror}); {cure}") from error
        self.flags.pop(flag.hash, None)
        if flag.flag is not None:
            self.flags[flag.hash] = flag


def _answers(parts: Parts) -> list[dict[str, Any]]:
    texts = [_cut(answer.text) for answer in parts.answers]
    pieces = difference(*texts) if len(texts) == 2 else [[(text, False)] for text in texts]
    return [
        {
            "who": answer.who,
            "score": None if answer.score is None else str(answer.score),
            "characters": len(answer.text),
            "pieces": shown,
        }
        for answer, shown in zip(parts.answers, pieces, strict=True)
    ]


def _cut(text: str) -> str:
    """A text that a browser can lay out; half a character is written as its code."""
    more = len(text) - LONGEST
    text = text if more <= 0 else f"{text[:LONGEST]}\n... (+{more:,} characters)"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
