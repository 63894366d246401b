# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Are the scores of a raw dataset there, and are they numbers? Reads the score columns only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..fields import FORMATTINGS, MEDIA_COLUMNS, ROW, SCORE_FIELDS, SOURCE, score_problem
from .findings import Problem, explain

PAIR_COLUMNS = ("chosen", "rejected")


def require_columns(dataset_attr: Any, present: Iterable[str], needs_scores: bool) -> None:
    """Check that the dataset_info.json entry names every column a pair needs, and that the data has them.

    Raises:
        ValueError: naming each missing entry or column, and the nearest existing one.
    """
    present = [name for name in present if name not in (SOURCE, ROW)]
    required = PAIR_COLUMNS * (dataset_attr.formatting in FORMATTINGS) + SCORE_FIELDS * needs_scores
    complaints = []
    for key in (*required, *MEDIA_COLUMNS):
        column = getattr(dataset_attr, key, None)
        if column is None and key in required:
            why = (
                "the loss or `score_margin` of this recipe needs scores" if key in SCORE_FIELDS else "a pair needs it"
            )
            complaints.append(f'no column for `{key}`: {why}; add `"{key}": "<column>"` under "columns"')
        elif column is not None and column not in present:
            near = difflib.get_close_matches(column, present, 1) or difflib.get_close_matches(key, present, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            complaints.append(f"`{key}` names column `{column}`, which the data does not have{hint}")
    if complaints:
        listed = "".join(f"\n  {complaint}" for complaint in complaints)
        raise ValueError(
            f"Dataset {dataset_attr}: its dataset_info.json entry does not fit the data.{listed}\n"
            f"Columns in the data: {', '.join(present)}."
        )


@dataclass(frozen=True)
class ScoreCheck:
    """Find illegal scores in raw rows. ``columns`` are the raw names of (score_chosen, score_rejected)."""

    columns: tuple[str, str]

    def problems(self, batches: Iterable[dict[str, list[Any]]]) -> Iterator[Problem]:
        """Yield a problem for every illegal score in batches of columns."""
        for batch in batches:
            for key, column in zip(SCORE_FIELDS, self.columns, strict=True):
                for source, row, value in zip(batch[SOURCE], batch[ROW], batch[column], strict=True):
                    found = score_problem(value)
                    if found:
                        label = f"`{key}`" if key == column else f"`{key}` (column `{column}`)"
                        yield Problem(source, row, "bad score", f"{label} is {found}")

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Let one streamed row pass.

        Raises:
            ValueError: if one of its scores is illegal.
        """
        names = (SOURCE, ROW, *self.columns)
        problems = list(self.problems([{name: [example.get(name)] for name in names}]))
        if problems:
            raise ValueError(explain(str(example[SOURCE]), problems))
        return example

    def reversed_rows(self, batches: Iterable[dict[str, list[Any]]]) -> Iterator[str]:
        """Yield the row of every pair whose chosen score is the lower one."""
        chosen, rejected = self.columns
        for batch in batches:
            for row, better, worse in zip(batch[ROW], batch[chosen], batch[rejected], strict=True):
                if better < worse:
                    yield str(row)


def all_score_problems(dataset: Any, check: ScoreCheck) -> list[Problem]:
    """Check every row of a dataset, map-style or streamed from local files, without touching its other columns."""
    return list(check.problems(_score_batches(dataset, check)))


def reversed_scores(dataset: Any, check: ScoreCheck) -> str | None:
    """A remark if chosen scores are below rejected ones; legal, but often two columns that were mixed up.

    Call it on a dataset without score problems. Returns None if there is nothing to remark.
    """
    rows = list(check.reversed_rows(_score_batches(dataset, check)))
    if not rows:
        return None
    shown = ", ".join(rows[:5]) + ", ..." * (len(rows) > 5)
    return (
        f"the chosen score is below the rejected one in {len(rows)} rows ({shown}). If that is most rows, "
        f"`score_chosen` and `score_rejected` may name each other's column."
    )


def _score_batches(dataset: Any, check: ScoreCheck) -> Iterator[dict[str, list[Any]]]:
    columns = list(dict.fromkeys((SOURCE, ROW, *check.columns)))
    for table in dataset.select_columns(columns).with_format("arrow").iter(batch_size=10_000):
        yield table.to_pydict()
