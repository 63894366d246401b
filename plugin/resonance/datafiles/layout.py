# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: how a JSON file is laid out, so that a changed copy looks like it. Reads, never writes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .read import RowError

HEAD = 1 << 20  # bytes looked at
_FIRST_ROW = re.compile(rb"\s*\[[^\S\n]*(?:\n([ \t]*))?[{\[](\s*\n)?")
_ESCAPE = re.compile(rb"\\u(?!00[0-7])[0-9a-fA-F]{4}")


@dataclass(frozen=True)
class Layout:
    """What `RowWriter` takes.

    Attributes:
        lines: an object a line.
        indent: of a list, in spaces; None for rows on one line each.
        ascii_only: other characters are escaped.
    """

    lines: bool
    indent: int | None
    ascii_only: bool

    @classmethod
    def of(cls, path: Path) -> Layout:
        """Tell the layout of a ``.json`` or ``.jsonl`` file from its start. Tabs are taken for four spaces.

        Raises:
            RowError: for another suffix, or a file that is one object instead of rows.
        """
        if path.suffix.lower() not in (".json", ".jsonl"):
            raise RowError(
                f"{path}: only .json and .jsonl can be written, so a {path.suffix or 'file without suffix'}"
                " has to be converted first: see `resonance data import --help`."
            )
        try:
            with open(path, "rb") as file:
                head = file.read(HEAD).removeprefix(b"\xef\xbb\xbf")
        except FileNotFoundError as error:
            raise RowError(f"{path}: no such file.") from error
        ascii_only = head.isascii() and _ESCAPE.search(head) is not None
        if path.suffix.lower() == ".jsonl" or not head.lstrip().startswith(b"["):
            if path.suffix.lower() == ".json":
                _refuse_one_object(path, head)
            return cls(True, None, ascii_only)
        found = _FIRST_ROW.match(head)
        indented = found is not None and found[1] and found[2]
        return cls(False, len(found[1].expandtabs(4)) if found and indented else None, ascii_only)

    def to(self, source: Path, target: Path) -> dict[str, Any]:
        """Return the arguments of `RowWriter` for a copy of `source`; a different suffix of `target` decides.

        Raises:
            ValueError: if `target` is neither ``.json`` nor ``.jsonl``.
        """
        suffix = target.suffix.lower()
        if suffix not in (".json", ".jsonl"):
            raise ValueError(f"{target}: rows are written to .json or .jsonl.")
        lines = suffix == ".jsonl" or (self.lines and source.suffix.lower() != ".jsonl")
        return {"lines": lines, "indent": self.indent, "ascii_only": self.ascii_only}


def _refuse_one_object(path: Path, head: bytes) -> None:
    """``{"data": [...]}`` is a frequent mistake, which read as an object a line would be told as bad JSON."""
    first, _, rest = head.strip().partition(b"\n")
    one = first.strip() == b"{"
    if not one and not rest:
        try:
            value = json.loads(first)
        except ValueError:
            return  # cut off or broken: whoever reads it says where
        one = isinstance(value, dict) and bool(value) and all(map(_is_rows, value.values()))
    if one:
        raise RowError(f"{path}: is one JSON object where a list of rows is needed; put its rows into a list [...].")


def _is_rows(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(row, dict) for row in value))
