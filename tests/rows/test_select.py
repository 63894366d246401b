# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which training rows a run keeps: an exact, seeded fraction, and pairs whose scores are far enough apart."""

from __future__ import annotations

import pytest

from resonance.rows.select import fraction, reaches


def rows(loaded) -> list[int]:
    return [row["_row"] for row in loaded.train]


@pytest.fixture
def twenty(data, make_pair):
    data.images(20)
    return data.write([make_pair(i) for i in range(20)], "pairs.jsonl")


@pytest.mark.parametrize(("ratio", "count"), [(0.5, 10), (0.33, 7), (0.01, 1), (0.999, 20), (1.0, 20)])
def test_an_exact_number_of_rows_in_their_order(twenty, load, ratio, count):
    kept = rows(load(data_ratio=ratio))
    assert len(kept) == count and kept == sorted(set(kept))


def test_the_draw_follows_the_seed(twenty, load):
    half = rows(load(data_ratio=0.5))
    assert rows(load(data_ratio=0.5)) == half
    assert rows(load(data_ratio=0.5, overwrite_cache=True, preprocessing_num_workers=2)) == half
    assert rows(load(data_ratio=0.5, seed=7)) != half
    assert rows(load(data_ratio=0.5, seed=7, data_seed=42)) == half
    assert set(rows(load(data_ratio=0.25))) < set(half), "a larger fraction holds the smaller one"


def test_fraction_alone():
    assert fraction([3, 5, 8], 1e-9, 0) in ([3], [5], [8])
    assert fraction(range(1000), 0.5, 0) != fraction(range(1000), 0.5, 1)


def test_each_set_keeps_its_fraction_and_evaluation_sets_are_whole(data, make_pair, load):
    data.write([make_pair(i) for i in range(6)], "a.json", "a")
    data.write([make_pair(i) for i in range(4)], "b.json", "b")
    loaded = load(dataset="a,b", eval_dataset="a", data_ratio=0.5, score_margin=0.0)
    sources = [row["_source"].rpartition("/")[2] for row in loaded.train]
    assert sources == ["a.json"] * 3 + ["b.json"] * 2
    assert [row["_row"] for row in loaded.eval] == list(range(6))


def test_text_pairs_ahead_of_image_pairs_still_train(data, make_pair, load):
    """`datasets` guesses the type of a column from the first rows; a selection must not hide the others from it."""
    text = {"instruction": "Which colour?", "chosen": "Red.", "rejected": "Blue.", "images": []}
    text |= {"score_chosen": 2, "score_rejected": 1}
    data.write([*[text] * 1500, *[make_pair(i) for i in range(6)]], "pairs.json")
    loaded = load(data_ratio=0.999)
    assert any(row["images"] for row in loaded.train)


def scored(make_pair, gaps, questions=None):
    pairs = []
    for i, gap in enumerate(gaps):
        row = make_pair(i % 6) | {"score_chosen": 1.0 + gap, "score_rejected": 1.0}
        pairs.append(row | ({"instruction": f"<image>{questions[i]}"} if questions else {}))
    return pairs


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("margin", "kept"), [(0.5, [1, 2, 4]), (0.0, [1, 2, 3, 4]), (-0.5, [0, 1, 2, 3, 4]), (2.0, [4])]
)
def test_a_threshold(data, make_pair, load, margin, kept, streaming):
    data.write(scored(make_pair, [-0.25, 0.5, 1, 0, 2]), "pairs.jsonl")
    assert rows(load(score_margin=margin, streaming=streaming, needs_scores=False)) == kept


def test_a_difference_that_floats_cannot_hold_reaches_the_margin():
    assert reaches(0.3 - 0.1, 0.2) and reaches(0.7 - 0.4, 0.3) and not reaches(0.19, 0.2)


def test_widest_pairs_of_each_prompt(data, make_pair, load):
    questions = ["a", "a", "a", "b", "b", "c"]
    pairs = [row | {"images": ["images/0.png"]} for row in scored(make_pair, [1, 2, 2, 0.5, 0.1, -1], questions)]
    data.write(pairs, "pairs.json")
    assert rows(load(score_margin=-1)) == [1, 2, 3, 5]


def test_the_same_question_about_another_image_is_another_prompt(data, make_pair, load):
    data.write(scored(make_pair, [1, 2, 3], ["same"] * 3), "pairs.json")
    assert rows(load(score_margin=-1)) == [0, 1, 2]


def test_pairs_without_prompts_are_of_one_prompt(data, make_pair, load):
    columns = {"chosen": "chosen", "rejected": "rejected"}
    data.write(scored(make_pair, [1, 2, 3]), "pairs.json", columns=columns)
    assert rows(load(score_margin=-1)) == [2]


def test_margin_before_fraction(data, make_pair, load):
    data.write(scored(make_pair, [2, 0, 2, 0, 2, 2]), "pairs.json")
    assert set(rows(load(score_margin=1, data_ratio=0.5))) < {0, 2, 4, 5}
    assert len(rows(load(score_margin=1, data_ratio=0.5))) == 2


def test_no_row_left(data, make_pair, load):
    data.write(scored(make_pair, [0.1, 0.2]), "pairs.json")
    with pytest.raises(ValueError, match="score_margin keeps 0 of 2 rows .>= 9.*Lower `score_margin`"):
        load(score_margin=9)


def test_scores_that_are_missing_are_told_although_the_loss_needs_none(data, make_pair, load):
    path = data.write([make_pair(0), make_pair(1) | {"score_rejected": None}], "pairs.json")
    with pytest.raises(ValueError, match=f"{path}, row 1: `score_rejected` is missing"):
        load(score_margin=0.0, needs_scores=False)


def test_scores_that_are_not_declared_are_told(data, make_pair, load):
    data.write([make_pair(0)], "pairs.json", scores=False)
    with pytest.raises(ValueError, match="needs scores|no column for `score_chosen`"):
        load(score_margin=0.0, needs_scores=False)


def test_scores_do_not_reach_the_batch_of_a_loss_without_them(data, make_pair, load):
    data.write([make_pair(0), make_pair(1)], "pairs.json")
    assert "score_chosen" not in load(score_margin=0.0, needs_scores=False).train.column_names
