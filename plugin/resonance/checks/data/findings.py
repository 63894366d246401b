# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a check found: counted in full, kept as far as it will be shown. Standard library only."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from .kinds import KINDS


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
    """The problems of one kind in one file.

    Attributes:
        count: how many there are.
        kept: the first of them.
        more: a temporary file with those behind, one a line, if all are wanted.
        rows: the rows that have one.
    """

    kind: str
    count: int = 0
    kept: list[Problem] = field(default_factory=list)
    more: IO[str] | None = None
    rows: set[int] = field(default_factory=set)

    def all(self) -> Iterator[Problem]:
        """Those kept, by row, then those in the temporary file, which came in order."""
        yield from sorted(self.kept, key=lambda problem: (problem.row is not None, problem.row or 0))
        if self.more is not None:
            self.more.seek(0)
            for line in self.more:
                yield Problem(*json.loads(line))


class Findings:
    """All problems of a check.

    Args:
        keep: how many of each kind and file are kept in memory, to be shown. All are counted.
        spill: keep the others too, in temporary files.
    """

    def __init__(self, keep: int = 1000, *, spill: bool = False) -> None:
        self.keep, self.spill = keep, spill
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, problem: Problem) -> None:
        """Count a problem, and keep it unless there are enough of its kind."""
        key = problem.file, problem.kind
        group = self._groups.get(key) or self._groups.setdefault(key, Group(problem.kind))
        group.count += 1
        if problem.row is not None:
            group.rows.add(problem.row)
        if len(group.kept) < self.keep:
            group.kept.append(problem)
        elif self.spill:
            if group.more is None:
                group.more = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed in `discard`, or last
            group.more.write(json.dumps(problem) + "\n")

    def discard(self, file: str, kinds: Iterable[str]) -> None:
        """Forget kinds of problems of a file that one problem of the whole file explains."""
        for kind in kinds:
            group = self._groups.pop((file, kind), None)
            if group is not None and group.more is not None:
                group.more.close()

    def groups(self, files: Iterable[str] | None = None) -> list[Group]:
        """Problems by kind, worst first: errors before warnings, then the commonest; of some files or of all."""
        wanted = None if files is None else set(files)
        merged: dict[str, Group] = {}
        for (file, kind), group in self._groups.items():
            if wanted is None or file in wanted:
                into = merged.setdefault(kind, Group(kind))
                into.count += group.count
                into.kept += group.kept
        return sorted(merged.values(), key=lambda group: (KINDS[group.kind].severity != "error", -group.count))

    def all(self, files: Iterable[str] | None = None) -> Iterator[Problem]:
        """Every problem that was kept, worst kind first, then by file and row."""
        for merged in self.groups(files):
            yield from self.of_kind(merged.kind, files)

    def of_kind(self, kind: str, files: Iterable[str] | None = None) -> Iterator[Problem]:
        """Every problem of a kind that was kept, by file and row."""
        for file in sorted({file for file, _ in self._groups} if files is None else set(files)):
            if (file, kind) in self._groups:
                yield from self._groups[file, kind].all()

    def count(self, severity: str) -> int:
        """How many problems there are of a severity."""
        return sum(group.count for group in self._groups.values() if KINDS[group.kind].severity == severity)

    def rows(self, severity: str, files: Iterable[str]) -> int:
        """How many rows have a problem of a severity."""
        return sum(len(self.rows_of(severity, file)) for file in set(files))

    def rows_of(self, severity: str, wanted: str) -> set[int]:
        """The rows of a file that have a problem of a severity."""
        groups = [group for (file, _), group in self._groups.items() if file == wanted]
        return set().union(*(group.rows for group in groups if KINDS[group.kind].severity == severity))
