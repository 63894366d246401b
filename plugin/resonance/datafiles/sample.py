# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The first rows of a file and what its columns hold. Reads, never writes."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .read import SUFFIXES, RowError, data_files, read_rows
from .unread import media_kind, told_unread

SAMPLE = 100  # rows looked at
_KINDS = {"str": "text", "bool": "true/false", "float": "number", "int": "number", "dict": "object"}


class Unclear(ValueError):
    """Rows from which no entry can be told: `problem` is why, `found` are the columns with what they hold."""

    def __init__(self, message: str, problem: str, found: str) -> None:
        super().__init__(message)
        self.problem, self.found = problem, found


@dataclass
class Table:
    """The first rows of a file, by column."""

    path: Path
    rows: list[Any]

    @classmethod
    def of(cls, file: Path, rows: list[Any] | None = None) -> Table:
        """Of a file, or of the first file of a folder; its first SAMPLE rows if `rows` is None."""
        path = first_file(file)
        if rows is None:
            rows = [row for _, row in islice(read_rows(path), SAMPLE)]
        if not rows:
            raise RowError(f"{path}: holds no rows, so nothing can be told from it.")
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise RowError(f"{path}, row {number}: is a {type(row).__name__} where an object is needed.")
        return cls(path, rows)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def told_unread(self, read: Collection[str], cure: str = "") -> str:
        """Which columns that hold anything are not read; see `unread.told_unread`."""
        return told_unread(self.unread(read), cure)

    def unread(self, read: Collection[str]) -> dict[str, str | None]:
        """Columns that hold anything and are not read, with the media column that each suits, if any."""
        values = {name: self.values(name) for name in self.names if name not in read}
        return {name: media_kind(found) for name, found in values.items() if found}

    def values(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows if row.get(name) is not None]

    def kind(self, name: str) -> str:
        """What a column's first value is, in words."""
        return next(iter(self.kinds(name)), "empty")

    def kinds(self, name: str) -> list[str]:
        """What a column's values are, in words, each kind once; lists without elements do not count beside others."""
        kinds = list(dict.fromkeys(map(_kind, self.values(name))))
        return [kind for kind in kinds if kind != "list"] or kinds

    def error(self, problem: str, cure: str) -> Unclear:
        found = ", ".join(f"{name} ({self.kind(name)})" for name in self.names)
        return Unclear(f"{self.path}: {problem}. Columns found: {found}. {cure}", problem, found)


def _kind(value: Any) -> str:
    name = type(value[0] if isinstance(value, list) and value else value).__name__
    return f"list of {_KINDS.get(name, name)}s" if isinstance(value, list) and value else _KINDS.get(name, name)


def first_file(path: Path) -> Path:
    if path.is_dir():
        names = sorted(os.listdir(path))
        types = {Path(name).suffix.lower() for name in names}
        if len({".json" if suffix == ".jsonl" else suffix for suffix in types}) > 1 or not types <= set(SUFFIXES):
            raise ValueError(
                f"{path}: LlamaFactory reads a folder only if it holds data files of one type and nothing else; "
                f"found {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}. Register one of its files instead."
            )
    return data_files(path)[0]
