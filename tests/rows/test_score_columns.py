# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Scores travel from every formatting and file type, map-style and streamed, to the tokenized row."""

from __future__ import annotations

import itertools

import pytest

MATRIX = list(itertools.product(("alpaca", "sharegpt", "openai"), ("json", "jsonl", "parquet"), (False, True)))


@pytest.mark.parametrize(("formatting", "extension", "streaming"), MATRIX)
def test_scores_reach_the_tokenized_row(data, load, make_pair, formatting, extension, streaming):
    data.write([make_pair(i, formatting) for i in range(4)], f"pairs.{extension}", formatting=formatting)

    rows = list(load(streaming=streaming).train)

    assert [(row["score_chosen"], row["score_rejected"]) for row in rows] == [
        (3 + i / 10, 1 + i / 10) for i in range(4)
    ]
    assert [row["_row"] for row in rows] == [0, 1, 2, 3]
    assert {row["_source"] for row in rows} == {str(data.folder / f"pairs.{extension}")}
    assert all(row["images"] == [str(data.folder / f"images/{i}.png")] for i, row in enumerate(rows))


@pytest.mark.parametrize("streaming", [False, True])
def test_no_scores_are_carried_when_the_loss_needs_none(data, load, make_pair, streaming):
    data.write([make_pair(i) for i in range(3)])

    rows = list(load(needs_scores=False, streaming=streaming).train)

    assert len(rows) == 3
    assert not any(name.endswith(("score_chosen", "score_rejected")) for name in rows[0])


@pytest.mark.parametrize("streaming", [False, True])
def test_scored_and_unscored_sets_mix_when_the_loss_needs_none(data, load, make_pair, streaming):
    data.write([make_pair(i) for i in range(3)])
    bare = [{key: value for key, value in make_pair(i).items() if not key.startswith("score")} for i in range(2)]
    data.write(bare, "bare.jsonl", "bare", scores=False)

    rows = list(load(needs_scores=False, dataset="pairs,bare", streaming=streaming).train)

    assert len(rows) == 5


def test_other_column_names_and_whole_numbers(data, load, make_pair):
    renamed = []
    for i in range(3):
        row = make_pair(i)
        row["good"], row["bad"] = 5, 1
        del row["score_chosen"], row["score_rejected"]
        renamed.append(row)
    data.write([make_pair(i) for i in range(3)])
    data.write(renamed, "whole.jsonl", "whole", scores=False)
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    columns |= {"score_chosen": "good", "score_rejected": "bad"}
    data.register("whole", "whole.jsonl", scores=False, columns=columns)

    rows = list(load(dataset="pairs,whole").train)

    assert [row["score_chosen"] for row in rows] == [3.0, 3.1, 3.2, 5.0, 5.0, 5.0]


def test_rows_keep_their_number_when_sampled(data, load, make_pair):
    data.write([make_pair(i) for i in range(6)], num_samples=1)
    for _ in range(8):  # one sampled row is contiguous: its number cannot be read off an index
        (row,) = load(overwrite_cache=True).train
        assert row["score_chosen"] == 3 + row["_row"] / 10

    data.register("pairs", "pairs.json", num_samples=9)
    rows = list(load(max_samples=5).train)
    assert len(rows) == 5
    assert all(row["score_chosen"] == 3 + row["_row"] / 10 for row in rows)


@pytest.mark.parametrize("extension", ["jsonl", "parquet"])
def test_rows_of_a_folder_name_their_file(data, load, make_pair, extension):
    data.write([make_pair(i) for i in range(4)], f"parts/a.{extension}", "a")
    data.write([make_pair(i) for i in range(4, 6)], f"parts/b.{extension}", "b")
    data.register("pairs", "parts")

    rows = {(row["_source"].rsplit("/", 1)[-1], row["_row"]): row["score_chosen"] for row in load().train}

    assert rows == {
        **{(f"a.{extension}", i): 3 + i / 10 for i in range(4)},
        **{(f"b.{extension}", i): 3 + (i + 4) / 10 for i in range(2)},
    }


def test_plan_must_be_set():
    from types import SimpleNamespace

    from resonance.rows.plan import get_plan

    with pytest.raises(ValueError, match="row_plan = RowPlan"):
        get_plan(SimpleNamespace())


@pytest.mark.parametrize("two_files", [True, False])
def test_a_thousand_text_pairs_may_come_before_the_first_image(data, load, make_pair, two_files):
    text = [{**make_pair(i), "instruction": "Which colour?"} for i in range(1100)]
    for row in text:
        del row["images"]
    pictures = [make_pair(i) for i in range(3)]
    if two_files:
        data.write(pictures)
        data.write(text, "text.jsonl", "text")
        columns = {name: name for name in ("chosen", "rejected", "score_chosen", "score_rejected")}
        data.register("text", "text.jsonl", columns=columns | {"prompt": "instruction"})
        rows = load(dataset="text,pairs").train
    else:
        data.write(text + pictures)
        rows = load().train
    assert [bool(row["images"]) for row in rows] == [False] * 1100 + [True] * 3


def test_a_text_set_with_empty_image_lists_mixes_with_an_image_set(data, load, make_pair):
    data.write([make_pair(i) for i in range(3)])
    data.write([{**make_pair(i), "instruction": "Which?", "images": []} for i in range(2)], "text.json", "text")
    rows = load(dataset="text,pairs").train
    assert [bool(row["images"]) for row in rows] == [False] * 2 + [True] * 3
