# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The scores of pairs, gathered and counted. Reads, never writes."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from ..rows.fields import SCORE_FIELDS, score_problem
from .read import read_rows
from .sample import Table

SHOWN = 20  # problems listed
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass
class Scores:
    """The scores of a file's pairs, 16 bytes a row.

    Attributes:
        chosen, rejected: of sound rows, in their order.
        bad: how many rows have a score that is none.
        problems: the first SHOWN of them, with their rows.
    """

    chosen: array[float] = field(default_factory=lambda: array("d"))
    rejected: array[float] = field(default_factory=lambda: array("d"))
    bad: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def margins(self) -> list[float]:
        return [better - worse for better, worse in zip(self.chosen, self.rejected, strict=True)]

    @property
    def limits(self) -> tuple[float, float]:
        return min(chain(self.chosen, self.rejected)), max(chain(self.chosen, self.rejected))

    def require_sound(self, path: str | Path) -> None:
        """Raise ValueError if there is a score that is none, or no score at all."""
        if self.bad:
            more = f"\n  ... and {self.bad - SHOWN} more" if self.bad > SHOWN else ""
            listed = "".join(f"\n  {problem}" for problem in self.problems)
            raise ValueError(f"{path}: {self.bad} rows have no two scores:{listed}{more}")
        if not self.chosen:
            raise ValueError(f"{path}: holds no rows.")


def scored_rows(
    path: Path, columns: tuple[str, str], scores: Scores, left_out: Container[int] = ()
) -> Iterator[tuple[int, Any, bool]]:
    """Yield (row number, row, whether both scores are sound), and gather the scores on the way.

    Args:
        path: of the file.
        columns: names of the chosen and the rejected score.
        scores: takes them in.
        left_out: numbers of rows to pass over.
    """
    for number, row in read_rows(path):
        if number in left_out:
            continue
        values: list[Any] = [row.get(column) if isinstance(row, dict) else None for column in columns]
        pairs = zip(columns, values, strict=True)
        wrong = [f"{column} is {problem}" for column, value in pairs if (problem := score_problem(value))]
        if wrong:
            scores.bad += 1
            if scores.bad <= SHOWN:
                scores.problems.append(f"{path}, row {number}: {', '.join(wrong)}")
        else:
            scores.chosen.append(float(values[0]))
            scores.rejected.append(float(values[1]))
        yield number, row, not wrong


def gather(files: Iterable[Path], columns: tuple[str, str], left_out: Container[int] = ()) -> Scores:
    """Read all scores of a set's files, but for rows that are left out of each."""
    scores = Scores()
    for path in files:
        for _ in scored_rows(path, columns, scores, left_out):
            pass
    return scores


def take_gapped(file: Path, entry: dict[str, Any], given: dict[str, Any] | None = None) -> dict[str, str]:
    """Take score columns that were told by their names alone out of an entry, if the first rows do not all have both.

    Args:
        file: the data file, or a folder of such.
        entry: as inferred from it.
        given: the parts of the entry that the user named.
    """
    columns, named = entry["columns"], (given or {}).get("columns", {})
    told = {key: columns[key] for key in SCORE_FIELDS if key in columns and key not in named}
    rows = Table.of(file).rows if told else []
    if all(row.get(name) is not None for row in rows for name in told.values()):
        return {}
    for key in told:
        del columns[key]
    return told


def quantiles(values: Sequence[float], at: Sequence[float] = QUANTILES) -> list[float]:
    """Quantiles with linear interpolation between the sorted values."""
    import numpy as np

    return np.quantile(values, at).tolist()


def share_at_least(values: Sequence[float], thresholds: Sequence[float]) -> list[float]:
    """The part of `values` that is >= each threshold."""
    import numpy as np

    return [float(np.mean(np.asarray(values) >= threshold)) for threshold in thresholds]
