# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`completions.jsonl`: every completion of a run, with what it was rewarded for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = "completions.jsonl"


class SampleLog:
    """Appends to the file. After a resume, what had been written since the checkpoint is written again, not twice.

    Args:
        folder: output folder of the run.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder, FILE)

    def start(self, rollouts: int) -> None:
        """Keep the lines of the first `rollouts` rollouts."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]  # a killed run leaves half a line
        kept = [line for line in whole if json.loads(line)["rollout"] < rollouts]
        partial = self.path.with_suffix(".jsonl.partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(self.path)

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records, one a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
