# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How a JSON file is laid out, so that a changed copy looks like it. Reads, never writes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .read import RowError
from .write import require_json

HEAD = 1 << 20  # bytes looked at
_FIRST_ROW = re.compile(rb"\s*\[[^\S\n]*(?:\n([ \t]*))?[{\[](\s*\n)?")
_ESCAPE = re.compile(rb"\\u(?!00[0-7])[0-9a-fA-F]{4}")


@dataclass(frozen=True)
class JsonLayout:
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
    def of(cls, path: Path) -> JsonLayout:
        """Tell the layout of a ``.json`` or ``.jsonl`` file from its start. Tabs are taken for four spaces.

        Raises:
            RowError: for another suffix, or a file that is one object instead of rows.
        """
        suffix = path.suffix.lower()
        if suffix not in (".json", ".jsonl"):
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
        if not re.match(rb"\s*\[", head):
            if suffix == ".json" and _is_one_object(head):
                told = "is one JSON object where a list of rows is needed; put its rows into a list [...]"
                raise RowError(f"{path}: {told}.")
            return cls(True, None, ascii_only)
        found = _FIRST_ROW.match(head)
        indent = len(found[1].expandtabs(4)) if found and found[1] and found[2] else None
        return cls(False, indent, ascii_only)

    def to(self, source: Path, target: Path) -> dict[str, Any]:
        """Return the arguments of `RowWriter` for a copy of `source`; a different suffix of `target` decides.

        Raises:
            ValueError: if `target` is neither ``.json`` nor ``.jsonl``.
        """
        lines = require_json(target) or (self.lines and source.suffix.lower() != ".jsonl")
        return asdict(replace(self, lines=lines))


def _is_one_object(head: bytes) -> bool:
    """``{"data": [...]}`` is a frequent mistake, which read as an object a line would be told as bad JSON."""
    first, _, rest = head.strip().partition(b"\n")
    if first.strip() == b"{" or rest:
        return first.strip() == b"{"
    try:
        value = json.loads(first)
    except ValueError:
        return False  # cut off or broken: whoever reads it says where
    return isinstance(value, dict) and bool(value) and all(map(_is_rows, value.values()))


def _is_rows(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(row, dict) for row in value))
