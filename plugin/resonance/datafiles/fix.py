# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A copy of a JSON or JSONL file with its media paths moved, row by row in flat memory."""

from __future__ import annotations

import filecmp
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .columns import MEDIA_COLUMNS
from .layout import JsonLayout
from .paths import Refused, Relocate, is_elsewhere, local_path, path_problem
from .read import RowError, read_rows
from .text import printable, shorten
from .write import RowWriter, back_up, replacing

KEYS = (*MEDIA_COLUMNS, "image")
SHOWN = 300  # characters of a path in a message


@dataclass(frozen=True)
class PathProblem:
    """A path that was not moved, or moved to nowhere. ``kind``: missing, ambiguous, climbs out, or no path."""

    row: int
    where: str
    path: Any
    kind: str
    message: str

    def __str__(self) -> str:
        path = self.path if isinstance(self.path, str) else repr(self.path)
        return f"row {self.row}, {self.where}: {shorten(printable(path), SHOWN) or '(empty)'}: {self.message}"


@dataclass
class Fixing:
    """What to do to each path, and what has been met so far.

    Args:
        relocate: one of the three ways of `paths`.
        keys: of the row; dots go into objects, lists are gone through.
        exists: whether there is such a file; None does not look.
        keep_going: write although there are problems; a row with one stays as it was.
        move_to_missing: a file that is not there is a problem, and its path moved all the same.
        on_problem: called with each problem as it is met.
        in_place: the target is the source; nothing is written if no path changes.

    Attributes:
        rows, changed, unchanged: counts; the paths of rows that stay as they were are unchanged.
        applied: paths that `relocate` applies to, whether or not they are moved.
        problems: how many of each kind.
        elsewhere: how many texts are addresses or base64, which no file can be found for; `no_path`: why the first is.
        stayed: rows that stay as they were because of a problem.
        written: whether there is a new file.
        backup: of a different file that was replaced.
    """

    relocate: Relocate
    keys: Sequence[str] = KEYS
    exists: Callable[[str], bool] | None = None
    keep_going: bool = False
    move_to_missing: bool = False
    on_problem: Callable[[PathProblem], None] = lambda problem: None
    in_place: bool = False

    def __post_init__(self) -> None:
        self.rows = self.changed = self.unchanged = self.applied = self.stayed = self.elsewhere = 0
        self.problems: Counter[str] = Counter()
        self.backup: Path | None = None
        self.written = False
        self.no_path = ""

    def run(self, source: Path, target: Path, **layout: Any) -> None:
        """Write `target`, whole or not at all; look at `written` and the counts afterwards.

        Args:
            source: the file whose paths are moved.
            target: the file to write.
            layout: arguments of `RowWriter` in place of the source's own.

        Raises:
            RowError: if the source cannot be read.
            OSError: if the target cannot be written.
        """
        arguments = JsonLayout.of(source).to(source, target) | layout
        try:
            with replacing(target) as file:
                writer = RowWriter(file, **arguments)
                for row, value in read_rows(source):
                    if not isinstance(value, dict):
                        raise RowError(f"{source}, row {row}: is a {type(value).__name__}, not an object.")
                    self.move(row, value)
                    try:
                        writer.write(value)
                    except UnicodeEncodeError as error:
                        raise RowError(f"{source}, row {row}: cannot be written as UTF-8 ({error}).") from error
                writer.close()
                if not self.wanted:
                    raise _NotWanted
                file.flush()
                if target.exists() and not filecmp.cmp(file.name, target, shallow=False):
                    self.backup = back_up(target)
            self.written = True
        except _NotWanted:
            self.written = False

    @property
    def wanted(self) -> bool:
        """Whether what has been met so far is worth a new file."""
        if self.in_place and not self.changed:
            return False
        if not self.applied and not self.move_to_missing and (self.problems or self.exists is None):
            return False  # the wrong way, rather than paths that are right as they are
        if self.elsewhere and self.elsewhere == self.changed + self.unchanged:
            return False
        return self.keep_going or (not self.problems and self.changed + self.unchanged > 0)

    def move(self, row: int, value: dict[str, Any]) -> None:
        """Move the paths of one row where they stand, or leave all of them if one has a problem."""
        self.rows += 1
        slots = [slot for key in self.keys for slot in _slots(value, key)]
        moves, stays = [], False
        for slot in slots:
            try:
                new = self._moved(slot)
                if new is not None and new != slot.value:
                    moves.append((slot, new))
                if not self._is_there(slot, new or slot.value):
                    there_is_no = f"there is no {shorten(printable(new or ''), SHOWN)}"
                    raise Refused("missing", f"not found; {self.relocate.misses}" if new is None else there_is_no)
            except Refused as error:
                self.problems[error.kind] += 1
                self.on_problem(PathProblem(row, slot.where, slot.value, error.kind, str(error)))
                stays |= error.kind != "missing" or not self.move_to_missing
        moves = [] if stays else moves
        for slot, new in moves:
            slot.holder[slot.key] = new
        self.stayed += stays
        self.changed += len(moves)
        self.unchanged += len(slots) - len(moves)

    def _moved(self, slot: _Slot) -> str | None:
        """The new path, None where the old one is right as it stands."""
        old = slot.value
        if not isinstance(old, str) or not old.strip():
            raise Refused("no path", "is no path" if isinstance(old, str) else f"is no path but {type(old).__name__}")
        if is_elsewhere(old):
            self.elsewhere += 1
            self.no_path = self.no_path or f"{slot.where} {path_problem(old)}"
            return None
        new: str | None
        local = local_path(old)
        try:
            if local != old and self.exists is not None and self.exists(local):
                new = local
            else:
                new = self.relocate(old) or (self.relocate(local) if local != old else None)
        except Refused:
            self.applied += 1
            raise
        self.applied += new is not None
        if new is None or self.move_to_missing or self._is_there(slot, new) or not self._is_there(slot, old):
            return new
        return None  # moved before: a second run finds ``/a`` once more in ``/a/b/1.jpg``

    def _is_there(self, slot: _Slot, path: str) -> bool:
        return slot.embedded or is_elsewhere(path) or self.exists is None or self.exists(path)


class _NotWanted(Exception):
    """Ends a block of `replacing` so that the target stays as it was."""


@dataclass(frozen=True)
class _Slot:
    """A place in a row that holds a path."""

    holder: Any
    key: Any
    where: str
    embedded: bool

    @property
    def value(self) -> Any:
        return self.holder[self.key]


def _slots(row: dict[str, Any], key: str) -> Iterator[_Slot]:
    """The places below a key of a row, dots and all."""
    first, *rest = key.split(".")
    if first in row:
        yield from _below(row, first, rest, first)


def _below(holder: Any, key: Any, rest: Sequence[str], where: str, embedded: bool = False) -> Iterator[_Slot]:
    value = holder[key]
    if isinstance(value, list):
        for index in range(len(value)):
            yield from _below(value, index, rest, f"{where}[{index}]")
    elif isinstance(value, dict) and rest:
        if rest[0] in value:
            yield from _below(value, rest[0], rest[1:], f"{where}.{rest[0]}", value.get("bytes") is not None)
    elif isinstance(value, dict) and ("path" in value or "bytes" in value):
        if value.get("path") is not None:
            yield _Slot(value, "path", f"{where}.path", value.get("bytes") is not None)
    elif value is not None and not rest:
        yield _Slot(holder, key, where, embedded)


@dataclass
class Findable:
    """Whether LlamaFactory would find a path: in `media_dir`, else as it stands. Folders count: a video may be one.

    Attributes:
        only_from_here: whether there was a relative path that is found in the working folder alone.
    """

    media_dir: Path
    only_from_here: bool = field(default=False, init=False)

    def __call__(self, path: str) -> bool:
        if os.path.exists(os.path.join(self.media_dir, path)):
            return True
        found = os.path.exists(path)
        self.only_from_here |= found
        return found
