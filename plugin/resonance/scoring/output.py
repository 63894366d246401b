# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The new data file with its scores, and the list of rows without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from ..datafiles.columns import COLUMNS, SCORE_FIELDS
from ..datafiles.layout import JsonLayout
from ..datafiles.read import RowError, read_rows
from ..datafiles.write import RowWriter, replacing, require_json, write_rows
from .estimate import Place

BEFORE = "_before"  # behind the name of a column whose scores are kept


@dataclass(frozen=True)
class Output:
    """Attributes: files: that are read. target: to write. columns: of the chosen and the rejected score. keep: whether
    scores of before go into columns of their own."""

    files: Sequence[Path]
    target: Path
    columns: tuple[str, str]
    keep: bool

    def problems(self) -> None:
        """Look at the first row of each file, before anything is paid for.

        Raises:
            ValueError: rows hold what JSON cannot, or there are kept scores already.
        """
        require_json(self.target)
        for file in self.files:
            for number, row in islice(read_rows(file), 1):
                if not isinstance(row, dict):
                    raise RowError(f"{file}, row {number}: is a {type(row).__name__} where an object is needed.")
                RowWriter(StringIO(), lines=True).write(self._scored(row, (0.0, 0.0), f"{file}, row {number}"))

    def write(self, scores: Mapping[Place, tuple[float, float]]) -> int:
        """Write rows that have scores, whole or not at all; how many these are."""
        layout = dict[str, Any](lines=require_json(self.target), indent=2, ascii_only=False)
        if self.files[0].suffix.lower() in (".json", ".jsonl"):
            layout = JsonLayout.of(self.files[0]).to(self.files[0], self.target)
        with replacing(self.target) as file:
            writer = RowWriter(file, **layout)
            for source in self.files:
                for number, row in read_rows(source, lambda number, what: None):
                    if (pair := scores.get((str(source), number))) is not None:
                        writer.write(self._scored(row, pair, f"{source}, row {number}"))
            writer.close()
        return writer.count

    def _scored(self, row: dict[str, Any], scores: tuple[float, float], where: str) -> dict[str, Any]:
        kept = {f"{name}{BEFORE}": row[name] for name in self.columns if self.keep and row.get(name) is not None}
        if there := sorted(kept.keys() & row.keys()):
            raise ValueError(f"{where}: has a column {there[0]} already; rename it, or give --overwrite")
        try:
            return _writable(row) | kept | dict(zip(self.columns, scores, strict=True))
        except TypeError as error:
            raise ValueError(f"{where}: cannot be written as JSON ({error})") from error


def _writable(row: dict[str, Any]) -> dict[str, Any]:
    """A row; TypeError where a column holds bytes."""
    for name, value in row.items():
        if _has_bytes(value):
            raise TypeError(f"{name} holds bytes: import the set first, which writes images as files")
    return row


def _has_bytes(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, list) and any(map(_has_bytes, value)))


def entry_with_scores(entry: Mapping[str, Any], file_name: str, columns: tuple[str, str]) -> dict[str, Any]:
    """The entry of the new file."""
    named = {**(entry.get("columns") or COLUMNS), **dict(zip(SCORE_FIELDS, columns, strict=True))}
    return {**{key: value for key, value in entry.items() if key != "file_name"}, "file_name": file_name} | {
        "columns": named
    }


def unscored_path(target: Path) -> Path:
    return target.with_name(f"{target.stem}.unscored.jsonl")


def write_unscored(target: Path, rows: Mapping[Place, tuple[str, str]]) -> Path | None:
    """Write the list of rows without scores, or delete an earlier one where there are none."""
    path = unscored_path(target)
    if not rows:
        path.unlink(missing_ok=True)
        return None
    write_rows(path, _lines(rows))
    return path


def _lines(rows: Mapping[Place, tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for (file, row), (kind, why) in sorted(rows.items()):
        yield {"file": file, "row": row, "kind": kind, "why": why}
