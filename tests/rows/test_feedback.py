# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows of KTO: tokens and borrowed answers as LlamaFactory has them, and what is too long or cannot be used."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from llamafactory.data.processor.feedback import FeedbackDatasetProcessor as LlamaFactorys

COLUMNS = {"prompt": "instruction", "response": "answer", "images": "images", "kto_tag": "good", "weight": "trust"}
ANSWERS = ["It is red.", "It is green, I think.", "Blue.", "I cannot see a colour there."]
LONG = "It may be red, and it may be green. " * 12
STREAMING = pytest.mark.parametrize("streaming", [False, True])


@pytest.fixture
def judged(data):
    """Write four judged answers, with changes to rows by number."""

    def write(changes=None, extension="json", **entry):
        rows = [
            {"instruction": "<image>Which colour?", "answer": answer, "images": [f"images/{i}.png"]}
            | {"good": i % 2 == 0, "trust": i / 2} | (changes or {}).get(i, {})
            for i, answer in enumerate(ANSWERS)
        ]  # fmt: skip
        data.write(rows, f"kto.{extension}", ranking=False, scores=False, **{"columns": COLUMNS, **entry})

    return write


@pytest.fixture
def load_kto(load):
    return lambda **changes: load(stage="kto", **changes)


def decoded(rows, tokenizer_module, side):
    """The answers of rows as text, by their labels."""
    tokenizer = tokenizer_module["tokenizer"]
    ids = [[label for label in row[f"{side}_labels"] if label != -100] for row in rows]
    return [tokenizer.decode(each, skip_special_tokens=True).strip() for each in ids]


@STREAMING
def test_each_row_borrows_the_answer_before_it(judged, load_kto, tokenizer_module, streaming):
    judged(extension="jsonl")
    rows = list(load_kto(streaming=streaming).train)
    assert decoded(rows, tokenizer_module, "chosen") == ANSWERS
    assert decoded(rows, tokenizer_module, "rejected") == [ANSWERS[-1], *ANSWERS[:-1]]
    assert [row["kto_tag"] for row in rows] == [1.0, 0.0, 1.0, 0.0] and "weight" not in rows[0]
    prompts = [[i for i, label in zip(row["chosen_input_ids"], row["chosen_labels"], strict=True) if label == -100]
               for row in rows]  # fmt: skip
    for row, prompt in zip(rows, prompts, strict=True):
        assert row["rejected_input_ids"][: len(prompt)] == prompt, "both stand behind the same prompt"


def test_tokens_are_llamafactorys(judged, load_kto, tokenizer_module):
    judged()
    loaded = load_kto()
    answers = [{"role": "assistant", "content": text} for text in ANSWERS]
    empty = {"role": "assistant", "content": ""}
    aligned = {
        "_prompt": [[{"role": "user", "content": "<image>Which colour?"}]] * 4,
        "_response": [[a, empty] if i % 2 == 0 else [empty, a] for i, a in enumerate(answers)],
        "_system": [""] * 4, "_tools": [""] * 4, "_videos": [None] * 4, "_audios": [None] * 4,
        "_images": [row["images"] for row in loaded.train],
    }  # fmt: skip
    theirs = LlamaFactorys(loaded.template, data_args=SimpleNamespace(cutoff_len=256), **tokenizer_module)
    found = theirs.preprocess_dataset(aligned)
    for ours, name in (("chosen", ""), ("rejected", "kl_")):
        assert loaded.train[f"{ours}_input_ids"] == found[f"{name}input_ids"]
        assert loaded.train[f"{ours}_labels"] == found[f"{name}labels"]
    assert [bool(tag) for tag in loaded.train["kto_tag"]] == found["kto_tags"]


def test_weights_are_carried_if_they_are_asked_for(judged, load_kto):
    judged()
    assert load_kto(needs=("weights",)).train["weight"] == [0, 0.5, 1, 1.5]


@STREAMING
def test_a_row_is_too_long_by_its_own_answer_alone(judged, load_kto, tokenizer_module, streaming):
    judged({1: {"answer": LONG}}, "jsonl")
    rows = list(load_kto(cutoff_len=90, overlong="drop", streaming=streaming).train)
    kept = decoded(rows, tokenizer_module, "chosen")
    assert kept == [ANSWERS[0], *ANSWERS[2:]], "row 2 borrows the long answer and stays"
    assert len(rows[1]["rejected_input_ids"]) == 90 and LONG.startswith(decoded(rows, tokenizer_module, "rejected")[1])


def test_the_message_of_a_row_that_is_too_long(judged, load_kto):
    judged({1: {"answer": LONG}})
    with pytest.raises(ValueError) as error:
        load_kto(cutoff_len=90)
    assert "1 problem in 1 of 4 rows (1 too long)" in str(error.value) and "row 1:" in str(error.value)
    assert ", answer " in str(error.value) and "rejected" not in str(error.value)


@pytest.mark.parametrize(("policy", "limit"), [("cut_text", "max_target_length"), ("drop", "max_target_length")])
def test_a_limit_of_answers_holds_for_borrowed_ones(judged, load_kto, policy, limit):
    judged({1: {"answer": LONG}})
    rows = list(load_kto(overlong=policy, **{limit: 20}).train)
    assert len(rows) == (4 if policy == "cut_text" else 3)
    assert all(sum(label != -100 for label in row[f"{side}_labels"]) <= 20
               for row in rows for side in ("chosen", "rejected"))  # fmt: skip


@STREAMING
def test_a_tag_that_is_none_is_named(judged, load_kto, streaming):
    judged({1: {"good": None}, 3: {"good": None}}, "jsonl")
    with pytest.raises(ValueError) as error:
        list(load_kto(streaming=streaming).train)
    text = str(error.value)
    assert "`kto_tag` (column `good`) is not true or false but None" in text and "2 bad label" in text
    assert "Give every row true or false" in text


def test_a_placeholder_in_an_answer_is_refused(judged, load_kto):
    judged({2: {"answer": "It is <image>."}})
    with pytest.raises(ValueError, match="row 2: `<image>` in the answer") as error:
        load_kto()
    assert "Take the placeholders out of the answers" in str(error.value)


def test_an_empty_answer_is_skipped_and_not_borrowed(judged, load_kto, tokenizer_module):
    judged({1: {"answer": " "}})
    loaded = load_kto()
    assert decoded(loaded.train, tokenizer_module, "rejected") == [ANSWERS[3], ANSWERS[0], ANSWERS[2]]
    assert json.loads(loaded.skipped.read_text())["reason"] == "empty response"


def test_an_entry_without_tags_is_refused(judged, load_kto):
    judged(columns={key: name for key, name in COLUMNS.items() if key != "kto_tag"})
    with pytest.raises(ValueError, match="no column for `kto_tag`: stage: kto reads there whether"):
        load_kto()
