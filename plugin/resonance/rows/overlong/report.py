# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How pairs that are too long are told: a line or an error a dataset, and a file that lists every row."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..validate.findings import (
    OVERLONG_FILE,
    SHORTENED_FILE,
    SHOWN,
    SKIP_FILE,
    Problem,
    RowLog,
    Skip,
    explain,
    open_row_log,
)
from .lengths import Lengths
from .policy import Overlong

TOO_LONG = "too long"
DONE = {"shrink_image": "smaller images", "cut_text": "shorter text"}
POLICIES = {
    "drop": "`overlong: drop` (leave such rows out)",
    "shrink_image": "`overlong: shrink_image` (make their images smaller)",
    "cut_text": "`overlong: cut_text` (shorten their text)",
}
Place = tuple[str, int]
Found = tuple[Place, Overlong]


@dataclass(frozen=True)
class Shortened:
    """A row that was shrunk or cut: its tokens before and after."""

    source: str
    row: int
    policy: str
    tokens: dict[str, int]
    left: dict[str, int]


@dataclass(frozen=True)
class Stopper:
    """A row that stops the run: its tokens, the limits it exceeds, and why the policy could not help."""

    source: str
    row: int
    tokens: dict[str, int]
    limits: dict[str, int]
    stuck: str | None


@dataclass(frozen=True)
class Report:
    """Lists rows in files of the output folder, and puts them into words.

    Args:
        folder: the run's output folder.
        logs: the lists by file name; empty on all ranks but the first.
    """

    folder: str
    logs: dict[str, RowLog]

    def skip(self, found: Sequence[Found]) -> list[Skip]:
        """List rows that are left out."""
        skips = [Skip(*place, TOO_LONG, overlong.found._asdict()) for place, overlong in found]
        self._list(SKIP_FILE, skips)
        return skips

    def shorten(self, dataset: str, found: Sequence[Found], total: int | None = None) -> str:
        """List rows that were shrunk or cut; returns one line that counts them."""
        entries, longest, left = [], 0, 0
        for place, overlong in found:
            now = overlong.left or overlong.found
            entries.append(Shortened(*place, overlong.policy, overlong.found._asdict(), now._asdict()))
            longest, left = max(longest, overlong.found.total), max(left, now.total)
        self._list(SHORTENED_FILE, entries)
        rows = ", ".join(str(entry.row) for entry in entries[:5]) + ", ..." * (len(entries) > 5)
        of_total = "" if total is None else f" of {total}"
        plural = "s" * (len(entries) > 1 or bool(of_total))
        return (
            f"Dataset {dataset}: {DONE[found[0][1].policy]} in {len(entries)}{of_total} row{plural} ({rows}); "
            f"the longest had {longest} tokens, now {left}. Every such row is listed in {self.path(SHORTENED_FILE)}."
        )

    def stop(self, dataset: str, found: Sequence[Found], total: int | None = None) -> str:
        """List rows that stop the run; returns the message that names them and what to do."""
        stoppers = []
        for place, overlong in found:
            limits = {key: excess.limit for key, excess in overlong.over.items()}
            stoppers.append(Stopper(*place, overlong.found._asdict(), limits, overlong.stuck or None))
        self._list(OVERLONG_FILE, stoppers)
        problems = [Problem(*place, TOO_LONG, _in_words(overlong)) for place, overlong in found]
        listed = f"\nEvery such row is listed in {self.path(OVERLONG_FILE)}." if len(found) > SHOWN else ""
        return explain(dataset, problems, total, {TOO_LONG: _cures(found)}) + listed

    def path(self, name: str) -> str:
        """Where a list is."""
        return os.path.join(self.folder, name)

    def _list(self, name: str, entries: Iterable[Any]) -> None:
        if name in self.logs:
            self.logs[name].add(entries)


def make_report(training_args: Any) -> Report:
    """Open the lists of a run; what an earlier run wrote is removed."""
    folder, first = training_args.output_dir, training_args.process_index == 0
    names = (SKIP_FILE, SHORTENED_FILE, OVERLONG_FILE) if first else ()
    return Report(folder, {name: open_row_log(os.path.join(folder, name)) for name in names})


def _in_words(overlong: Overlong) -> str:
    over = " and ".join(f"`{key}: {excess.limit}`" for key, excess in overlong.over.items())
    stuck = f"; `overlong: {overlong.policy}` cannot help: {overlong.stuck}" if overlong.stuck else ""
    return f"{_tokens(overlong.found)}, more than {over}{stuck}"


def _tokens(found: Lengths) -> str:
    media = f"; {found.image_tokens} of these for media" if found.image_tokens else ""
    return f"{found.total} tokens (prompt {found.prompt}, chosen {found.chosen}, rejected {found.rejected}{media})"


def _cures(found: Sequence[Found]) -> str:
    """Every way out: higher limits, or another policy than the one that was tried."""
    needed: dict[str, int] = {}
    for _, overlong in found:
        for key, excess in overlong.over.items():
            needed[key] = max(excess.needed, needed.get(key, 0))
    raised = " and ".join(f"`{key}: {value}`" for key, value in needed.items())
    useless = {found[0][1].policy}
    if not any(overlong.found.image_tokens for _, overlong in found):
        useless.add("shrink_image")
    *others, last = [text for policy, text in POLICIES.items() if policy not in useless]
    return f"Set {raised}, or {', '.join(others)}{' or ' * bool(others)}{last}."
