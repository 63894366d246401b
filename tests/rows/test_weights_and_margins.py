# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Weights and margins travel from the data file to the tokenized row, if the run reads them; illegal ones stop it."""

from __future__ import annotations

import pytest

COLUMNS = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
COLUMNS |= {"weight": "trust", "margin": "margin"}


@pytest.fixture
def weighted(data, make_pair):
    """Write three pairs with these weights and margins."""

    def write(weights=(0, 1.5, 2), margins=(-0.5, 0, 3), extension="json"):
        rows = [
            make_pair(i) | {"trust": weight, "margin": margin}
            for i, (weight, margin) in enumerate(zip(weights, margins, strict=True))
        ]
        data.write(rows, f"pairs.{extension}", columns=COLUMNS)

    return write


@pytest.mark.parametrize(("extension", "streaming"), [("json", False), ("jsonl", True), ("parquet", False)])
def test_both_reach_the_tokenized_row(weighted, load, extension, streaming):
    weighted(extension=extension)
    rows = list(load(needs_scores=False, needs=("weights", "margins"), streaming=streaming).train)
    assert [(row["weight"], row["margin"]) for row in rows] == [(0, -0.5), (1.5, 0), (2, 3)]
    assert "score_chosen" not in rows[0]


def test_neither_is_carried_or_checked_when_nothing_reads_it(weighted, load):
    weighted(weights=(-1, None, 2))
    rows = list(load(needs_scores=False, needs=("margins",)).train)
    assert [row["margin"] for row in rows] == [-0.5, 0, 3] and "weight" not in rows[0]


@pytest.mark.parametrize("streaming", [False, True])
def test_every_illegal_one_is_named(weighted, load, streaming):
    weighted(weights=(-1.0, None, 2.0), margins=(0.5, 1.0, float("nan")), extension="jsonl")
    with pytest.raises(ValueError) as error:
        load(needs_scores=False, needs=("weights", "margins"), streaming=streaming)
    for part in ("`weight` (column `trust`) is below 0: -1", "is missing (null or absent)", "`margin` is not finite"):
        assert part in str(error.value)
    assert "no weight below 0" in str(error.value)


def test_an_entry_without_them(data, load, make_pair):
    data.write([make_pair(i) for i in range(2)])
    with pytest.raises(ValueError) as error:
        load(needs=("weights", "margins"))
    assert "no column for `weight`: `sample_weights` of this recipe needs weights" in str(error.value)
    assert "no column for `margin`: the loss of this recipe needs margins" in str(error.value)


def test_an_evaluation_set_needs_margins_and_no_weights(weighted, data, load, make_pair):
    weighted()
    rows = [make_pair(i) | {"margin": 1.0} for i in range(2)]
    data.write(rows, "held.json", "held", columns={k: v for k, v in COLUMNS.items() if k != "weight"})
    loaded = load(needs_scores=False, needs=("weights", "margins"), eval_dataset="held")
    (held,) = loaded.eval.values() if isinstance(loaded.eval, dict) else (loaded.eval,)
    assert held["margin"] == [1.0, 1.0] and "weight" not in held.column_names
    assert loaded.train["weight"] == [0, 1.5, 2]
