# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Files of a run that grow by JSON lines. After a resume, what came after the checkpoint is written again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class JsonLines:
    """A file of one JSON object a line, in UTF-8.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Record]:
        """The records that are there. A killed run leaves half a line, which is none."""
        return (json.loads(line) for line in self._lines())

    def keep(self, kept: Callable[[Record], bool]) -> None:
        """Leave out the other records, and half a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.partial")
        with partial.open("wb") as file:
            file.writelines(line for line in self._lines() if kept(json.loads(line)))
        partial.replace(self.path)

    def add(self, records: Iterable[Record]) -> None:
        """Append records, in one write as far as the system does that."""
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        with self.path.open("a", encoding="utf-8", newline="\n", errors="backslashreplace") as file:
            file.write(text)

    @property
    def size(self) -> int:
        """In bytes."""
        return os.path.getsize(self.path) if self.path.is_file() else 0

    def _lines(self) -> Iterator[bytes]:
        """Whole lines as they are on disk: half a line may end within a character, which no text file would read."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
