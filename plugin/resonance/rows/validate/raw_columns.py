# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The columns of a raw dataset: does it have those that its entry names, and do ours hold the numbers they should?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..fields import CARRIED, FORMATTINGS, MEDIA_COLUMNS, ROW, SCORE_FIELDS, SOURCE, Column, own_value
from ..stream import Dataset, column_batches
from ..types import Batch, DatasetAttr, Row
from .findings import CURES, Finding, explain

PAIR_COLUMNS = ("chosen", "rejected")
WHY = {  # a group of columns has to be there
    "scores": "the loss, `score_margin` or `score_order` of this recipe needs scores",
    "weights": "`sample_weights` of this recipe needs weights",
    "margins": "the loss of this recipe needs margins",
    "tags": "stage: kto reads there whether an answer is a good one",
}
TEXTS = ("messages", "prompt", "query", "system", *PAIR_COLUMNS)


def require_columns(
    dataset_attr: DatasetAttr, present: Iterable[str], read: Iterable[Column], needed: tuple[str, ...] = PAIR_COLUMNS
) -> None:
    """Check that the dataset_info.json entry names every column a row needs, and that the data has them.

    Args:
        dataset_attr: the entry.
        present: columns of the data.
        read: those of our columns that have to be there.
        needed: keys of `columns` that LlamaFactory's own formattings have to name.

    Raises:
        ValueError: naming each missing entry or column, and the nearest existing one.
    """
    present = [name for name in present if name not in (SOURCE, ROW)]
    groups = {column.name: column.group for column in read}
    required = (*needed * (dataset_attr.formatting in FORMATTINGS), *groups)
    complaints = []
    for key in (*required, *MEDIA_COLUMNS):
        column = getattr(dataset_attr, key, None)
        if not column and key in required:
            why = WHY[groups[key]] if key in groups else "a pair needs it"
            complaints.append(f'no column for `{key}`: {why}; add `"{key}": "<column>"` under "columns"')
        elif column and column not in present:
            near = difflib.get_close_matches(column, present, 1) or difflib.get_close_matches(key, present, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            complaints.append(f"`{key}` names column `{column}`, which the data does not have{hint}")
    if complaints:
        listed = "".join(f"\n  {complaint}" for complaint in complaints)
        raise ValueError(
            f"Dataset {dataset_attr}: its dataset_info.json entry does not fit the data.{listed}\n"
            f"Columns in the data: {', '.join(present)}."
        )


def require_text(dataset_attr: DatasetAttr, features: Mapping[str, Any] | None) -> None:
    """Check that no text became a date: `datasets` does so where all texts of a column of JSON lines look like dates.

    Raises:
        ValueError: naming each column.
    """
    types = dict(features or {})
    named = [(key, str(getattr(dataset_attr, key, None))) for key in TEXTS]
    dated = [f"`{key}` (column `{name}`)" for key, name in named if "timestamp" in str(types.get(name))]
    if dated:
        raise ValueError(f"Dataset {dataset_attr}: {', '.join(dated)} was read as dates. To do: {CURES['dates']}")


def score_columns(dataset_attr: DatasetAttr) -> tuple[str, str]:
    """Return the raw names of (score_chosen, score_rejected)."""
    chosen, rejected = (getattr(dataset_attr, key) for key in SCORE_FIELDS)
    return chosen, rejected


def raw_names(dataset_attr: DatasetAttr, columns: Iterable[Column]) -> dict[str, str]:
    """Return what columns of ours are called in the data, by name."""
    return {column.name: getattr(dataset_attr, column.name) for column in columns}


def illegal_numbers(batches: Iterable[Batch], columns: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for every illegal score, weight, margin or tag in batches of columns.

    Args:
        batches: with source, row and these columns.
        columns: raw names by name.
    """
    known = {column.name: column for column in CARRIED}
    for batch in batches:
        for key, column in columns.items():
            label = f"`{key}`" if key == column else f"`{key}` (column `{column}`)"
            for source, row, value in zip(batch[SOURCE], batch[ROW], batch[column], strict=True):
                if found := known[key].problem(own_value(value, source)):
                    yield Finding(known[key].finding, f"{label} is {found}", source, row)


def number_findings(dataset: Dataset, columns: Mapping[str, str]) -> list[Finding]:
    """Check every row of a dataset, map-style or streamed from local files, without reading its other columns."""
    names = dict.fromkeys((SOURCE, ROW, *columns.values()))
    return list(illegal_numbers(column_batches(dataset, tuple(names)), columns))


def require_numbers(example: Row, columns: Mapping[str, str]) -> Row:
    """Return one streamed row as it is.

    Raises:
        ValueError: if one of its scores, its weight, its margin or its tag is illegal.
    """
    batch = {name: [example.get(name)] for name in (SOURCE, ROW, *columns.values())}
    if findings := list(illegal_numbers([batch], columns)):
        raise ValueError(explain(str(example[SOURCE]), findings))
    return example


def reversed_scores(dataset: Dataset, columns: tuple[str, str], stop: bool) -> str | None:
    """Return a remark if chosen scores are below rejected ones; legal, but in most rows a sign of mixed-up columns.

    Call it on a dataset without illegal scores. Returns None if there is nothing to remark.

    Args:
        dataset: map-style, or streamed from local files.
        columns: raw names of (score_chosen, score_rejected).
        stop: whether the loss reads scores, so that it would learn the opposite.

    Raises:
        ValueError: most rows are reversed, and `stop`.
    """
    chosen, rejected = columns
    rows, above = [], 0
    for batch in column_batches(dataset, (ROW, *columns)):
        for row, better, worse in zip(batch[ROW], batch[chosen], batch[rejected], strict=True):
            above += float(better) > float(worse)
            rows += [str(row)] if float(better) < float(worse) else []
    if not rows:
        return None
    shown = ", ".join(rows[:5]) + ", ..." * (len(rows) > 5)
    found = f"the chosen score is below the rejected one in {len(rows)} rows ({shown})"
    cure = "`score_chosen` and `score_rejected` may name each other's column"
    if stop and len(rows) > above:
        raise ValueError(
            f"{found}, and above it in {above}: the loss would learn the opposite. In dataset_info.json "
            f"{cure} ({chosen}, {rejected}): exchange them, or take a loss that needs no scores."
        )
    return f"{found}. If that is most rows, {cure}."
