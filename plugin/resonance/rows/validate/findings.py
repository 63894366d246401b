# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How problems of rows are told, all at once, and where skipped rows are listed. Standard library only."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

SHOWN = 10
SKIP_FILE = "skipped_rows.jsonl"
SHORTENED_FILE = "shortened_rows.jsonl"
OVERLONG_FILE = "overlong_rows.jsonl"


@dataclass(frozen=True)
class Problem:
    """One thing that stops a run. ``row`` is None when it concerns the whole source."""

    source: str
    row: int | None
    kind: str
    found: str

    def __str__(self) -> str:
        """Where, then what."""
        where = self.source if self.row is None else f"{self.source}, row {self.row}"
        return f"{where}: {self.found}"


CURES = {
    "bad score": "Give every row a finite number in both score columns (a NaN in a JSON list reads as null), or "
    "choose a pref_loss that needs no scores.",
    "image missing": "Correct the path, or set `media_dir` to the folder that the paths start from.",
    "video missing": "Correct the path, or set `media_dir` to the folder that the paths start from.",
    "audio missing": "Correct the path, or set `media_dir` to the folder that the paths start from.",
    "image unreadable": "Replace the image, or remove the row.",
    "placeholder count": "Write one placeholder per item; prompt + chosen and prompt + rejected count separately.",
    "message not text": "Make every message's content plain text and put images into the `images` column.",
    "row unreadable": "Correct the row, or the `columns` and `tags` of its dataset_info.json entry.",
    "mixed column": "Give the column one type in every row.",
    "late column": "Move that row to the top of the file, or save the file as a JSON list, which is read whole.",
    "not JSON": "Correct the line; `python -m json.tool --json-lines FILE` shows the place in a .jsonl file.",
}


def explain(
    dataset: str, problems: Sequence[Problem], total: int | None = None, cures: Mapping[str, str] | None = None
) -> str:
    """Tell all problems of a dataset in one message: counts by kind, the commonest first, then the first rows.

    Args:
        dataset: its name.
        problems: all of them.
        total: rows of the dataset, if they were counted.
        cures: what to do about kinds that are not in CURES.
    """
    cures = {**CURES, **(cures or {})}
    counts = Counter(problem.kind for problem in problems).most_common()
    rank = {kind: place for place, (kind, _) in enumerate(counts)}
    ordered = sorted(problems, key=lambda problem: rank[problem.kind])
    of_total = "" if total is None else f" in {len({(p.source, p.row) for p in problems})} of {total} rows"
    lines = [
        f"Dataset {dataset}: {len(problems)} problem{'s' * (len(problems) > 1)}{of_total} "
        f"({', '.join(f'{count} {kind}' for kind, count in counts)}). Rows count from 0.",
        *(f"  {problem}" for problem in ordered[:SHOWN]),
    ]
    if len(ordered) > SHOWN:
        lines.append(f"  ... and {len(ordered) - SHOWN} more.")
    lines += [f"To do ({kind}): {cures[kind]}" for kind, _ in counts]
    return "\n".join(lines)


@dataclass(frozen=True)
class Skip:
    """One row left out, and why; how many tokens it has, if that is why."""

    source: str
    row: int
    reason: str
    tokens: dict[str, int] | None = None


class Entry(Protocol):
    """What a list of rows holds: a dataclass instance with the place of a row."""

    @property
    def source(self) -> str: ...
    @property
    def row(self) -> int: ...


def summarize(dataset: str, skips: Sequence[Skip], total: int, path: str) -> str:
    """One line: how many rows were kept, and the first rows left out for each reason."""
    rows: dict[str, list[str]] = {}
    sources = {skip.source for skip in skips}
    for skip in skips:
        rows.setdefault(skip.reason, []).append(str(skip.row) if len(sources) == 1 else f"{skip.source}:{skip.row}")
    reasons = (
        f"{len(numbers)} {reason} ({', '.join(numbers[:5])}{', ...' * (len(numbers) > 5)})"
        for reason, numbers in sorted(rows.items(), key=lambda item: -len(item[1]))
    )
    return (
        f"Dataset {dataset}: kept {total - len(skips)} of {total} rows, "
        f"skipped {len(skips)} (reason, rows): {'; '.join(reasons)}. "
        f"Every skipped row is listed in {path}."
    )


@dataclass
class RowLog:
    """A file that lists rows: one JSON object a line with ``source``, ``row`` and what is to be said; no row twice."""

    path: str
    seen: set[tuple[str, int]] = field(default_factory=set)
    size: int = 0

    def add(self, entries: Iterable[Entry]) -> None:
        """Append the rows that are not listed yet.

        Raises:
            ValueError: if the file cannot be written.
        """
        try:
            self._read_what_others_added()
            new = [entry for entry in entries if (entry.source, entry.row) not in self.seen]
            if not new:
                return
            self.seen.update((entry.source, entry.row) for entry in new)
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(_said(entry), ensure_ascii=False) + "\n" for entry in new)
            self.size = os.path.getsize(self.path)
        except OSError as error:
            raise ValueError(f"Cannot write {self.path} ({error}). Choose a writable `output_dir`.") from error

    def _read_what_others_added(self) -> None:
        """The data workers of a stream write the same file, each in its own process and anew in every epoch."""
        if not os.path.exists(self.path) or os.path.getsize(self.path) == self.size:
            return
        with open(self.path, encoding="utf-8") as file:
            listed = [json.loads(line) for line in file if line.endswith("}\n")]
        self.seen.update((entry["source"], entry["row"]) for entry in listed)


def _said(entry: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if value is not None}


_LOGS: dict[str, RowLog] = {}


def open_row_log(path: str) -> RowLog:
    """Return this process's list of rows at a path; the first call removes the list of an earlier run."""
    if path not in _LOGS:
        try:
            if os.path.exists(path):
                os.remove(path)
        except OSError as error:
            raise ValueError(f"Cannot replace {path} ({error}). Choose a writable `output_dir`.") from error
        _LOGS[path] = RowLog(path)
    return _LOGS[path]
