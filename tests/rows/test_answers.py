# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Conversations of `stage: sft` with `overlong`: LlamaFactory's tokens and labels, whole; those that are too long."""

from __future__ import annotations

import json

import pytest

from rows.test_overlong import PAD, big_image, count, listed

LIMIT = 150
LONG = "Look closely at the shape and at the page before you answer. " * 3
ENTRY = {"formatting": "sharegpt", "ranking": False, "columns": {"messages": "conversations", "images": "images"}}


def talk(*texts, images=()):
    """A conversation: a question, an answer, a question and so on."""
    roles = ("human", "gpt")
    turns = [{"from": roles[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"conversations": turns, "images": list(images)}


@pytest.fixture
def rows():
    """Row 0 has one turn, row 1 three with two images, row 2 no image."""
    return [
        talk("<image>Which colour?", "It is red.", images=["images/0.png"]),
        talk(
            "<image>Which colour?", "It is green.", "And here?<image>", "Blue.", "Sure?", "Yes.",
            images=["images/1.png", "images/2.png"],
        ),
        talk("What is red?", "A colour."),
    ]  # fmt: skip


@pytest.fixture
def cases(data, rows):
    """Of six rows, 3 has two large images, 4 a long answer, 5 a long question."""
    pictures = [big_image(data, f"big{i}.png") for i in range(2)]
    rows = [
        *rows,
        talk("<image>Which is larger?<image>", "The first.", images=pictures),
        talk("<image>Which colour?", "It is white. " * 25, images=["images/3.png"]),
        talk(LONG * 3, "Yes."),
    ]
    return data.write(rows, "talks.jsonl", "talks", scores=False, **ENTRY)


@pytest.fixture
def sft(load):
    return lambda **changes: load(**{"stage": "sft", "dataset": "talks", "overlong": "error", **changes})


@pytest.mark.parametrize("learned", [{}, {"train_on_prompt": True}, {"mask_history": True}], ids=lambda d: "".join(d))
def test_what_fits_is_tokenized_as_llamafactory_does(data, rows, sft, monkeypatch, learned):
    import llamafactory.data.loader as loader
    from llamafactory.data.processor import SupervisedDatasetProcessor

    data.write(rows, "talks.jsonl", "talks", scores=False, **ENTRY)
    ours = sft(**learned).train
    monkeypatch.setattr(loader, "SupervisedDatasetProcessor", SupervisedDatasetProcessor)
    theirs = sft(**learned).train
    columns = [name for name in theirs.column_names if not name.startswith("_")]
    assert len(columns) == 6 and len(ours) == 3
    for name in columns:
        assert list(ours[name]) == list(theirs[name]), name


@pytest.mark.parametrize("template", ["chatml", "falcon", "bailing"])
def test_templates_with_one_end_token_are_encoded_as_llamafactory_does(template, tokenizer_module):
    """`efficient_eos` puts a token behind the whole."""
    from types import SimpleNamespace

    from llamafactory.data.processor import SupervisedDatasetProcessor
    from llamafactory.hparams import DataArguments

    from resonance.rows.answers import AnswerEncoder
    from resonance.rows.templates import own_template

    keys = SimpleNamespace(train_on_prompt=False, mask_history=False, cutoff_len=4096)
    tokenizer = tokenizer_module["tokenizer"]
    own = own_template(tokenizer, DataArguments(template=template))
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate("Abcd")]
    given = dict.fromkeys(("_system", "_tools", "_images", "_videos", "_audios"))
    ids = AnswerEncoder(own, tokenizer, None, keys)({"_prompt": turns[:3], "_response": turns[3:], **given})
    plain = SupervisedDatasetProcessor(own, tokenizer, None, keys)
    assert (ids.ids, ids.labels) == plain._encode_data_example(turns[:3], turns[3:], None, None, [], [], [])
    assert ids.chosen and ids.labels[-len(ids.chosen) :] == ids.chosen


def test_every_row_that_is_too_long_stops_the_run_at_once(cases, sft):
    with pytest.raises(ValueError) as caught:
        sft(cutoff_len=LIMIT)
    message = str(caught.value)
    for row in (3, 4, 5):
        assert f"{cases}, row {row}: " in message
    assert "row 0" not in message and "rejected" not in message
    assert ", answer " in message and "for media), more than `cutoff_len: 150`" in message
    assert "`overlong: drop`" in message and "`overlong: cut_text`" in message


@pytest.mark.parametrize("streaming", [False, True])
def test_such_rows_can_be_left_out(cases, sft, streaming):
    loaded = sft(cutoff_len=LIMIT, overlong="drop", streaming=streaming)
    assert [row["_row"] for row in loaded.train] == [0, 1, 2]
    assert [entry["row"] for entry in listed(loaded, "skipped_rows.jsonl")] == [3, 4, 5]


def test_images_are_made_smaller_and_the_batch_has_their_sizes(data, cases, sft, tokenizer_module):
    from resonance.rows.answers import AnswerCollator

    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    data.write(rows[:4], "talks.jsonl", "talks", scores=False, **ENTRY)
    loaded = sft(cutoff_len=LIMIT, overlong="shrink_image")
    assert [entry["row"] for entry in listed(loaded, "shortened_rows.jsonl")] == [3]
    assert all(len(row["input_ids"]) <= LIMIT for row in loaded.train)
    assert all(row["_image_sizes"] == "" for row in list(loaded.train)[:3])
    batch = AnswerCollator(template=loaded.template, **tokenizer_module)(list(loaded.train))
    pads = int((batch["input_ids"] == tokenizer_module["tokenizer"].convert_tokens_to_ids(PAD)).sum())
    assert pads == int(batch["image_grid_thw"].prod(-1).sum()) // 4 and batch["pixel_values"].shape[0] == pads * 4
    assert set(batch) == {"input_ids", "attention_mask", "labels", "pixel_values", "image_grid_thw"}


def test_a_conversation_loses_its_end_and_no_image(data, rows, sft, tokenizer_module):
    long = [rows[0], talk("<image>Which colour?", "It is white. " * 25, "Sure?", "Yes.", images=["images/3.png"])]
    data.write(long, "talks.jsonl", "talks", scores=False, **ENTRY)
    whole = sft(cutoff_len=512, overlong="cut_text").train[1]
    loaded = sft(cutoff_len=LIMIT, overlong="cut_text")
    cut = loaded.train[1]
    for name in ("input_ids", "labels", "attention_mask"):
        assert cut[name] == whole[name][:LIMIT] and len(whole[name]) > LIMIT
    pads = (count(tokenizer_module["tokenizer"], row["input_ids"], PAD) for row in (cut, whole))
    assert len(set(pads)) == 1
    assert [entry["left"]["prompt"] + entry["left"]["chosen"] for entry in listed(loaded, "shortened_rows.jsonl")] == [
        LIMIT
    ]


def test_an_end_that_holds_an_image_or_all_answers_is_not_cut(data, rows, sft):
    stuck = [talk(LONG * 2 + "<image>", "Red.", images=["images/0.png"]), talk(LONG * 3, "Yes."), rows[0]]
    data.write(stuck, "talks.jsonl", "talks", scores=False, **ENTRY)
    with pytest.raises(ValueError) as caught:
        sft(cutoff_len=LIMIT, overlong="cut_text")
    message = str(caught.value)
    assert "`overlong: cut_text` cannot help: its media end at token" in message
    assert "`overlong: cut_text` cannot help: nothing that is learned is among its first 150 tokens" in message


def test_bad_rows_stop_the_run_together_and_useless_ones_are_skipped(data, rows, sft):
    bad = [
        *rows,
        talk("<image>Which colour?", "Red.", images=["images/none.png"]),
        talk("Which colour?", "Red.", images=["images/0.png"]),
        talk("Which colour?", None),
        talk("Which colour?"),
    ]
    path = data.write(bad, "talks.jsonl", "talks", scores=False, **ENTRY)
    with pytest.raises(ValueError) as caught:
        sft()
    message = str(caught.value)
    assert f"{path}, row 3: image " in message and "does not exist" in message
    assert f"{path}, row 4: 1 image but 0 `<image>` in the messages" in message
    data.write([*rows, *bad[5:]], "talks.jsonl", "talks", scores=False, **ENTRY)
    loaded = sft()
    assert len(loaded.train) == 3
    reasons = {entry["row"]: entry["reason"] for entry in listed(loaded, "skipped_rows.jsonl")}
    assert reasons == {3: "empty response", 4: "invalid turns"}


def test_a_fraction_of_the_training_rows_is_drawn_and_evaluation_sets_stay_whole(data, rows, sft):
    data.write(rows * 4, "talks.jsonl", "talks", scores=False, **ENTRY)
    data.write(rows, "held.jsonl", "held", scores=False, **ENTRY)
    loaded = sft(data_ratio=0.5, eval_dataset="held")
    assert len(loaded.train) == 6 and len(loaded.eval) == 3


def test_a_saved_set_that_learns_other_tokens_is_refused(data, rows, sft, tmp_path):
    data.write(rows, "talks.jsonl", "talks", scores=False, **ENTRY)
    saved = {"tokenized_path": str(tmp_path / "set")}
    sft(**saved)
    assert len(sft(**saved).train) == 3
    with pytest.raises(ValueError, match="mask_history: False, now True"):
        sft(mask_history=True, **saved)


def test_images_are_not_decoded_to_count_their_tokens(data, rows, sft, monkeypatch):
    from PIL import ImageFile

    data.write(rows, "talks.jsonl", "talks", scores=False, **ENTRY)
    sft()  # the counter's comparison with the real path
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("decoded"))
    assert len(sft(overwrite_cache=True).train) == 3


def test_a_broken_image_is_named_with_its_row(data, rows, sft, tokenizer_module):
    from resonance.rows.answers import AnswerCollator

    path = data.write(rows, "talks.jsonl", "talks", scores=False, **ENTRY)
    loaded = sft()
    image = data.folder / "images" / "0.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(ValueError, match=f"Cannot build a batch from {path} rows 0, 2"):
        AnswerCollator(template=loaded.template, **tokenizer_module)([loaded.train[0], loaded.train[2]])
