# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Scores on disk, by the content of all that decides them, for runs and ranks that ask the same again."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .api import Answer

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

SUFFIX = ".json"
KEPT = 0.9  # of the limit, when what is oldest is deleted


class Cache:
    """A folder of small files, each there whole or not at all. Processes may share it.

    Args:
        folder: is made.
        entries: at most; when there are more, those that were written first go.
    """

    def __init__(self, folder: str, entries: int) -> None:
        self.folder, self.entries = Path(folder), entries
        self._count: int | None = None
        self._warned = False

    def get(self, key: str) -> Answer | None:
        """The answer under a key, None where there is none or its file is damaged."""
        path = self._path(key)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            answer, score = record["answer"], record["answer"]["score"]
            if record["check"] == _check(key, answer) and (score is None or math.isfinite(score)):
                return Answer(**answer)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not what `put` writes
        if not self._warned:
            self._warned = True
            logger.warning(
                f"{path} is damaged; it, and any other such file, is not trusted: the judge is asked again."
            )
        return None

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer, unless it is a refusal."""
        if answer.refused:
            return
        path, values = self._path(key), asdict(answer)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        text = json.dumps({"check": _check(key, values), "answer": values}, ensure_ascii=False)
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        os.replace(partial, path)
        if self._count is not None:
            self._count += new

    def trim(self) -> None:
        """Delete what was written first if there is more than the limit."""
        if self._count is None:
            self._count = sum(1 for _ in self.folder.glob(f"*/*{SUFFIX}"))
        if self._count <= self.entries:
            return
        aged = sorted((_age(path), path) for path in self.folder.glob(f"*/*{SUFFIX}"))
        self._count = min(len(aged), int(self.entries * KEPT))
        for _, path in aged[: len(aged) - self._count]:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{SUFFIX}"


def key_of(decides: Mapping[str, Any]) -> str:
    """The key of JSON values."""
    text = json.dumps(decides, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="backslashreplace")).hexdigest()


def _check(key: str, answer: Mapping[str, Any]) -> str:
    return key_of({"key": key, "answer": answer})


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process has deleted it
        return 0.0
