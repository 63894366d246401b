# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One scoring: what is read, who is asked, what is written."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...checks.data.pairs import read_pairs
from ...checks.quiet import quiet
from ...datafiles.find import DataSet, entry_of, find
from ...datafiles.infer import file_name_of
from ...datafiles.info import register
from ...datafiles.read import read_rows
from ...rows.fields import SCORE_FIELDS
from ...scoring.estimate import Place, Plan, survey
from ...scoring.journal import Journal
from ...scoring.output import Output, entry_with_scores
from ...scoring.run import Asking
from ...scoring.types import NO_ROW, Judge, Pair
from ...wire import Pace
from ..data import common
from .judges import judge_of

_SKIPPED = re.compile(r"(.*), row (\d+): (.*)", re.DOTALL)  # what `read_pairs` says of a row


@dataclass(frozen=True)
class Job:
    """Attributes: args: of the command. data: the set. info: where `entry`, under `name`, goes. output: the new file.
    judge: who is asked, at `pace`. cache: the file of answers so far."""

    args: argparse.Namespace
    data: DataSet
    info: Path
    name: str
    entry: Mapping[str, Any]
    output: Output
    judge: Judge
    pace: Pace
    cache: Path

    @property
    def mode(self) -> str:
        return str(self.args.mode)

    def journal(self) -> Journal:
        return Journal(self.cache)

    def pairs(self, on_skip: Callable[[str], None] = lambda line: None) -> Iterator[Pair]:
        """The pairs of the set, as LlamaFactory reads them."""
        yield from read_pairs(self.args.data, str(self.info.parent), self.args.media_dir, on_skip)

    def survey(self, known: Collection[str]) -> Plan:
        """Read all pairs once."""
        skipped: list[str] = []
        with quiet(), self._progress("reading", None, "row") as progress:
            plan = survey(self.pairs(skipped.append), self.judge, self.mode, known, progress.update)
        for line in skipped:
            if (found := _SKIPPED.fullmatch(line)) is not None:
                plan.unread[found[1], int(found[2])] = (NO_ROW, found[3])
        return plan

    def ask(self, plan: Plan, journal: Journal) -> Asking:
        """Ask all that is not known; raises ValueError where the judge cannot be asked at all."""
        with quiet(), self._progress("scoring", plan.new, "answer") as progress:
            asking = Asking(self.judge, journal, self.pace, progress.update)
            if plan.new:
                self.judge.check()
                asking.run(plan.asks(self.pairs(), self.mode))
        return asking

    def write(self, scores: Mapping[Place, tuple[float, float]]) -> None:
        """Write the new file and its entry."""
        self.output.write(scores)
        register(self.info, self.name, dict(self.entry), force=self.args.force)

    def _progress(self, what: str, total: int | None, unit: str) -> Any:
        # None: a bar where somebody looks
        return tqdm(desc=what, total=total, unit=f" {unit}", disable=self.args.json or None, file=sys.stderr)


def job_of(args: argparse.Namespace) -> Job:
    """What is asked for, looked at as far as can be before anything is paid for.

    Raises:
        ValueError: what is wrong with it.
    """
    data = find(args.data, common.info_path(args))
    for file in data.files:
        common.refuse_same(file, args.output)
    if args.output.is_dir():
        raise ValueError(f"{args.output}: is a folder; name a file in it")
    entry = entry_of(data)
    if not entry.get("ranking"):
        raise ValueError(f'{args.data}: has no pairs; a preference set has "ranking": true')
    named = entry.get("columns") or {}
    columns = (named.get(SCORE_FIELDS[0], SCORE_FIELDS[0]), named.get(SCORE_FIELDS[1], SCORE_FIELDS[1]))
    output = Output(data.files, args.output, columns, keep=not args.overwrite)
    output.problems()
    info, name = data.info or common.info_path(args), args.name or args.output.stem
    new = entry_with_scores(entry, file_name_of(args.output, info), columns)
    register(info, name, new, force=args.force, dry_run=True)
    pace = Pace(args.rate, args.token_rate)
    known = {column for file in data.files[:1] for _, row in _first(file) for column in row}
    cache = args.cache or args.output.with_name(f".{args.output.name}.answers.jsonl")
    return Job(args, data, info, name, new, output, judge_of(args, known, pace), pace, cache)


def _first(file: Path) -> Iterator[tuple[int, Any]]:
    for found in read_rows(file):
        yield found
        return
