# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Flags that people put on rows: a line each in NAME.flags.jsonl, which other commands read. Standard library only.

A flag belongs to a row as it was when somebody looked at it: to its hash, not to its number. So flags survive a file
whose rows change places, identical rows share theirs, and a row that was changed has none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .read import read_rows
from .text import count, digest
from .write import open_own

SUFFIX = ".flags.jsonl"
SWAP = "swap"  # the two answers are to change places; a row with any other flag is to be left out
PAIRS = ("bad_pair", "wrong_image", SWAP, "bad_prompt", "other")
ANSWERS = ("bad_answer", "wrong_image", "bad_prompt", "other")
SHOWN = 10  # flags named in a message
_HASH = 8  # bytes of one, a number in an `array`


@dataclass(frozen=True)
class Flag:
    """A flag of one row.

    Attributes:
        row: where the row was, from 0, in `file`; for people.
        hash: what it belongs to, see `row_hash`.
        flag: the reason; None takes the flag of the row away.
        note: more words.
        time: when it was made.
    """

    row: int
    file: str
    hash: str
    flag: str | None
    note: str = ""
    time: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))

    def __str__(self) -> str:
        return f"row {self.row} ({self.flag})"


class LostFlags(ValueError):
    """Flags that belong to no row of a data set."""


def row_hash(row: Any) -> str:
    """What a row is known by: the same wherever it stands, another if a letter of it changes."""
    return digest(json.dumps(row, sort_keys=True, default=_stand_in))[:_HASH].hex()


def _stand_in(value: Any) -> str:
    return digest(value).hex() if isinstance(value, bytes) else repr(value)


def flags_file(data: Path) -> Path:
    """Where the flags of a data file or folder are kept: beside it, for nothing else may lie in such a folder."""
    return data.with_name(data.name + SUFFIX)


def append(path: Path, flag: Flag) -> None:
    """Write a flag to the end of a file, at once: a reader sees all of its line or nothing.

    Raises:
        OSError: if it cannot be written.
    """
    with open_own(path, "a+b") as file:
        file.seek(max(file.seek(0, 2) - 1, 0))
        torn = file.read(1) not in (b"", b"\n")  # somebody's editor leaves no end of line
        file.write(("\n" * torn + json.dumps(asdict(flag)) + "\n").encode())


def read_flags(path: Path) -> dict[str, Flag]:
    """The flags of a file by the hash of their rows; the last one of a row wins, and one that takes away does.

    Raises:
        ValueError: if a line is no flag; says which.
    """
    if path.suffix.lower() != ".jsonl":
        raise ValueError(f"{path}: a file of flags ends in .jsonl; `resonance data view` writes NAME{SUFFIX}.")
    found: dict[str, Flag] = {}
    for number, line in read_rows(path):
        if not isinstance(line, dict) or not isinstance(line.get("hash"), str) or "flag" not in line:
            told = f"is no flag but {line!r:.80}; a flag has `hash` and `flag`, see docs/data_view.md"
            raise ValueError(f"{path}, line {number + 1}: {told}. Mend or delete the line.")
        reason = line["flag"]
        if reason is not None and (not isinstance(reason, str) or not reason):
            raise ValueError(f"{path}, line {number + 1}: `flag` is {reason!r:.60}; a word or null is needed.")
        known = {key: line[key] for key in ("row", "file", "note", "time") if key in line}
        found[line["hash"]] = Flag(**{"row": -1, "file": "", **known, "hash": line["hash"], "flag": reason})
    return {key: flag for key, flag in found.items() if flag.flag is not None}


def unplaced(flags: Iterable[Flag], shown: int = SHOWN) -> str:
    """Flags that no row has, in words."""
    listed = sorted(flags, key=lambda flag: (flag.file, flag.row))
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return f"{count(len(listed), 'flag')} without a row: {', '.join(map(str, listed[:shown]))}{more}"


def placed(path: Path, files: Iterable[Path]) -> Mapping[str, Mapping[int, Flag]]:
    """The flags of a file by data file and row. Reads all rows once.

    Args:
        path: the file of flags.
        files: those of the data set; each must be readable, but for lines that are no JSON.

    Raises:
        LostFlags: if one belongs to no row, because that was changed or taken out after somebody looked at it.
        ValueError: if a line is no flag.
    """
    flags = read_flags(path)
    left, found = set(flags), dict[str, dict[int, Flag]]()
    for file in files:
        for number, row in read_rows(file, lambda number, message: None):
            if (flag := flags.get(key := row_hash(row))) is not None:
                found.setdefault(str(file), {})[number] = flag
                left.discard(key)
    if left:
        told = unplaced(flags[key] for key in left)
        raise LostFlags(f"{path}: {told}. These rows were changed or taken out after they were flagged.")
    return found


def swapped(row: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """A pair with its answers and their scores exchanged; a margin changes its sign.

    Args:
        row: of a set of pairs.
        columns: of its entry.
    """
    changed = dict(row)
    for key in ("", "score_"):
        one, other = columns.get(f"{key}chosen"), columns.get(f"{key}rejected")
        if one and other:
            changed |= {new: row[old] for new, old in ((one, other), (other, one)) if old in row}
    margin = columns.get("margin")
    if margin and type(row.get(margin)) in (int, float):
        changed[margin] = -row[margin]
    return changed
