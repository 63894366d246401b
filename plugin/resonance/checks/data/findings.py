# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a check found: counted in full, kept as far as it will be shown. Room: `checks/`. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .kinds import KINDS

SEVERITIES = ("error", "warning")


class Problem(NamedTuple):
    """One problem; ``row`` counts from 0 and is None for what concerns the whole file."""

    file: str
    row: int | None
    kind: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        """The object that --json prints."""
        kind = KINDS[self.kind]
        return {**self._asdict(), "severity": kind.severity, "fix": kind.fix}


@dataclass
class Group:
    """The problems of one kind in one file; ``kept`` are the first of them."""

    kind: str
    count: int = 0
    kept: list[Problem] = field(default_factory=list)
    rows: set[int] = field(default_factory=set)


class Findings:
    """All problems of a check.

    Args:
        keep: how many of each kind and file are kept to be shown, None for all. All are counted.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.keep = keep
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, problem: Problem) -> None:
        """Count a problem, and keep it unless there are enough of its kind."""
        group = self._groups.setdefault((problem.file, problem.kind), Group(problem.kind))
        group.count += 1
        if self.keep is None or len(group.kept) < self.keep:
            group.kept.append(problem)
        if problem.row is not None:
            group.rows.add(problem.row)

    def discard(self, file: str, kinds: Iterable[str]) -> None:
        """Forget kinds of problems of a file that one problem of the whole file explains."""
        for kind in kinds:
            self._groups.pop((file, kind), None)

    def groups(self, files: Iterable[str] | None = None) -> list[Group]:
        """Problems by kind, worst first: errors before warnings, then the commonest; of some files or of all."""
        wanted = None if files is None else set(files)
        merged: dict[str, Group] = {}
        for (file, kind), group in self._groups.items():
            if wanted is None or file in wanted:
                into = merged.setdefault(kind, Group(kind))
                into.count += group.count
                into.kept += group.kept if self.keep is None else group.kept[: max(self.keep - len(into.kept), 0)]
        return sorted(merged.values(), key=lambda group: (KINDS[group.kind].severity != "error", -group.count))

    def __iter__(self) -> Iterator[Problem]:
        """What was kept, worst kind first, then by file and row."""
        for group in self.groups():
            yield from sorted(
                group.kept, key=lambda problem: (problem.file, problem.row is not None, problem.row or 0)
            )

    def count(self, severity: str) -> int:
        """How many problems there are of a severity."""
        return sum(group.count for group in self._groups.values() if KINDS[group.kind].severity == severity)

    def rows(self, severity: str, files: Iterable[str]) -> int:
        """How many rows have a problem of a severity."""
        total = 0
        for wanted in set(files):
            groups = [group for (file, _), group in self._groups.items() if file == wanted]
            total += len(set().union(*(group.rows for group in groups if KINDS[group.kind].severity == severity)))
        return total
