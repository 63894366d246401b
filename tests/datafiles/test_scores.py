# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Scores counted, put on another scale, and used to keep or drop pairs."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resonance.datafiles.read import RowError, read_rows
from resonance.datafiles.rescore import Line, MarginRule, Ranks, filter_rows, rescale
from resonance.datafiles.scores import QUANTILES, Scores, gather, quantiles, share_at_least
from resonance.datafiles.write import write_rows
from resonance.rows import select

COLUMNS = ("score_chosen", "score_rejected")


def rows_with(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"prompt": f"p{i}", "score_chosen": a, "score_rejected": b} for i, (a, b) in enumerate(pairs)]


def rows_of(path: Path) -> list[Any]:
    return [row for _, row in read_rows(path)]


@pytest.mark.parametrize(
    "values", [[3.0], [1.0, 2.0], [5.0, 1.0, 1.0, 2.5, -7.0], list(np.random.RandomState(0).randn(101))]
)
def test_quantiles_are_numpys(values: list[float]) -> None:
    np.testing.assert_allclose(quantiles(array("d", values)), np.quantile(values, QUANTILES), rtol=1e-12)


def test_shares() -> None:
    assert share_at_least([1, 2, 2, 3], [0, 1, 2, 2.5, 4]) == [1, 1, 0.75, 0.25, 0]


def test_bad_scores_are_told_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    bad = [(None, 1), (math.nan, 1), (1, "2"), (True, math.inf), (10**400, 1)]
    write_rows(path, [*rows_with((5, 1), *bad), {"prompt": "none"}, ["no object"]])
    scores = gather([path], COLUMNS)
    assert list(scores.chosen) == [5.0] and scores.bad == 7
    with pytest.raises(ValueError) as error:
        scores.require_sound(path)
    text = str(error.value)
    assert f"{path}: 7 rows have no two scores" in text
    for line in (
        "row 1: score_chosen is missing (null or absent)",
        "row 2: score_chosen is not finite but nan",
        "row 3: score_rejected is not a number but str '2'",
        "row 4: score_chosen is not a number but bool True, score_rejected is not finite but inf",
        "row 5: score_chosen is a whole number beyond what a float holds",
        "row 6: score_chosen is missing (null or absent), score_rejected is missing (null or absent)",
        "row 7: score_chosen is missing (null or absent), score_rejected is missing (null or absent)",
    ):
        assert f"{path}, {line}\n" in text + "\n"


def test_many_bad_scores_are_counted_not_listed(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", rows_with(*[(None, None)] * 50))
    with pytest.raises(ValueError, match=r"50 rows(.|\n)*row 19(.|\n)*and 30 more") as error:
        gather([tmp_path / "rows.jsonl"], COLUMNS).require_sound("rows.jsonl")
    assert "row 20:" not in str(error.value)
    with pytest.raises(ValueError, match="holds no rows"):
        Scores().require_sound("rows.jsonl")


def test_a_line_is_exact_at_its_ends_and_scales_margins() -> None:
    line = Line(0.1, 0.7, 1.0, 5.0)
    assert line(0.1) == 1.0 and line(0.7) == 5.0 and line(0.4) == pytest.approx(3.0)
    assert line(0.6) - line(0.2) == pytest.approx(line.slope * 0.4)
    for ends in [(1, 1, 0, 5), (0, 1, 5, 5), (0, 1, 5, 0), (0, math.inf, 0, 5)]:
        with pytest.raises(ValueError, match="each must rise"):
            Line(*ends)


def test_ranks_reach_both_ends_keep_order_and_ties() -> None:
    scores = Scores(array("d", [10, 100, 1000, 10]), array("d", [1, 1, 1, 2]))
    ranks = Ranks(scores, 0, 5)
    values = [ranks(value) for value in (1, 2, 10, 100, 1000)]
    assert values[0] == 0 and values[-1] == pytest.approx(5) and values == sorted(set(values))
    # 8 scores: three at rank 0-2 (middle 1), then 3, two at 4-5 (4.5), 6, 7; stretched from 1..7 to 0..5
    assert values == pytest.approx([5 * (rank - 1) / 6 for rank in (1, 3, 4.5, 6, 7)])
    assert ranks(-5) == 0 and ranks(9999) == pytest.approx(5) and values[3] < ranks(500) < values[4]
    with pytest.raises(ValueError, match="all scores are the same"):
        Ranks(Scores(array("d", [1]), array("d", [1])), 0, 5)


def test_rescaling_changes_two_columns_only(tmp_path: Path) -> None:
    rows = [row | {"other": {"n": 1}} for row in rows_with((10, 0), (5, 2))]
    write_rows(tmp_path / "a.json", rows, indent=4)
    rescale(tmp_path / "a.json", tmp_path / "b.json", COLUMNS, Line(0, 10, 0, 5))
    assert rows_of(tmp_path / "b.json") == [
        rows[0] | {"score_chosen": 5.0, "score_rejected": 0.0},
        rows[1] | {"score_chosen": 2.5, "score_rejected": 1.0},
    ]
    assert (tmp_path / "b.json").read_text().startswith('[\n    {\n        "prompt"')


@pytest.mark.parametrize(
    ("margin", "ties", "kept"),
    [
        (0.2, None, [0, 1]),  # 0.3 - 0.1 reaches 0.2
        (0, None, [0, 1, 2]),
        (0, False, [0, 1]),
        (0.2, True, [0, 1, 2]),
        (-1, None, [0, 1, 2, 3]),
    ],
)
def test_filtering(tmp_path: Path, margin: float, ties: bool | None, kept: list[int]) -> None:
    rows = rows_with((0.3, 0.1), (5, 1), (2, 2), (1, 2), (None, 1))
    write_rows(tmp_path / "a.jsonl", rows)
    filter_rows(tmp_path / "a.jsonl", tmp_path / "b.json", COLUMNS, MarginRule(margin, ties))
    assert rows_of(tmp_path / "b.json") == [rows[i] for i in kept]


def test_the_rule_is_that_of_a_recipes_score_margin() -> None:
    generator = np.random.RandomState(1)
    for chosen, rejected in generator.randint(0, 50, (300, 2)) / 10:
        margin = generator.randint(-20, 20) / 10
        assert MarginRule(margin)(chosen, rejected) == select.reaches(float(chosen) - float(rejected), margin)


def test_parquet_can_be_read_but_pictures_in_it_not_be_written(tmp_path: Path) -> None:
    rows = rows_with((5, 1))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    filter_rows(tmp_path / "a.parquet", tmp_path / "b.jsonl", COLUMNS, MarginRule(0))
    assert rows_of(tmp_path / "b.jsonl") == rows
    pq.write_table(pa.Table.from_pylist([rows[0] | {"image": {"bytes": b"x", "path": "a"}}]), tmp_path / "c.parquet")
    with pytest.raises(RowError, match=r"c.parquet, row 0: cannot be written as JSON"):
        filter_rows(tmp_path / "c.parquet", tmp_path / "d.jsonl", COLUMNS, MarginRule(0))
    assert not (tmp_path / "d.jsonl").exists()
