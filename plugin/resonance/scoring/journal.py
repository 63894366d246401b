# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a judge has answered so far, a line each, on disk as soon as it is known."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..datafiles.write import fcntl as fcntl
from ..datafiles.write import open_own
from .types import Verdict

HEAD = {"resonance_score": 1}
FINISHED = {"finished": True}


class Journal:
    """Scores, and failures of a run that has not finished: the next run asks about these again.

    A process that is killed leaves half a line at most, which is passed over.

    Args:
        path: of the file; is made.

    Raises:
        ValueError: another process has it open, or it is another file.

    Attributes:
        known: the verdict under each key.
        unfinished: whether a run began and did not come to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.known, self.unfinished = path, dict[str, Verdict](), False
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open_own(path, "ab+")
        try:
            self._take()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _take(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{self.path}: another process is asking for these scores; wait for it to end, or stop it"
            ) from None

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        if _line(HEAD).startswith(content):  # killed before there was anything else
            self._file.truncate(0)
            content = b""
        lines = content.split(b"\n")
        if content and _value(lines[0]) != HEAD:
            raise ValueError(f"{self.path}: is no list of answers of `resonance score`; give --cache another file")
        for line in lines[1:]:
            if (value := _value(line)) == FINISHED:
                self.known = {key: verdict for key, verdict in self.known.items() if not verdict.failed}
                self.unfinished = False
            elif value is not None and (verdict := _verdict(value)) is not None:
                self.known[value["key"]] = verdict
                self.unfinished = True
        if not content:
            self._append([HEAD])
        elif not content.endswith(b"\n"):
            self._file.write(b"\n")

    def put(self, found: Mapping[str, Verdict]) -> None:
        """Keep verdicts: they are on the disk when this returns."""
        with self._lock:
            self.known |= found
            self._append(
                [
                    {
                        "key": key,
                        "scores": list(verdict.scores),
                        "failed": verdict.failed,
                        "reason": verdict.reason,
                        "tokens": list(verdict.tokens),
                    }
                    for key, verdict in found.items()
                ]
            )

    def finish(self) -> None:
        """A run has come to its end; what failed in it is asked again by the next."""
        with self._lock:
            self._append([FINISHED])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, values: list[dict[str, Any]]) -> None:
        self._file.write(b"".join(map(_line, values)))
        self._file.flush()
        os.fsync(self._file.fileno())


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _value(line: bytes) -> Any:
    """The object on a line, None for anything else."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _verdict(value: dict[str, Any]) -> Verdict | None:
    """The verdict that `put` has written, None for anything else."""
    try:
        scores = tuple(float(score) for score in value["scores"])
        into, out = value["tokens"]
        known = Verdict(scores, str(value["reason"]), str(value["failed"]), (int(into), int(out)))
    except (KeyError, ValueError, TypeError):
        return None
    sound = (
        isinstance(value.get("key"), str) and all(map(math.isfinite, scores)) and bool(scores) != bool(known.failed)
    )
    return known if sound else None
