# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs that are too long: each policy, on one image, several, none, and one in the middle of the prompt."""

from __future__ import annotations

import json
import shutil

import pytest

LIMIT = 90
LONG = "Look closely at the shape and at the page before you answer. " * 3
STREAMING = pytest.mark.parametrize("streaming", [False, True])
PAD, START, END = "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"


def big_image(data, name, size=(280, 280)):
    from PIL import Image

    Image.effect_noise(size, 80).convert("RGB").save(data.folder / "images" / name)
    return f"images/{name}"


@pytest.fixture
def cases(data, make_pair):
    """Six pairs: row 1 has a large image, row 2 much text around its image, row 4 two images, row 5 long answers."""
    rows = [make_pair(i) for i in range(6)]
    rows[1]["images"] = [big_image(data, "big.png")]
    rows[2]["instruction"] = f"{LONG}<image>{LONG}Which colour?"
    rows[4] |= {"instruction": "<image>Which is larger?<image>", "images": ["images/4.png", big_image(data, "4b.png")]}
    rows[5] |= {"chosen": "It is white. " * 12, "rejected": "It is red. " * 15}
    return data.write(rows, "pairs.jsonl")


def tokens(row):
    return max(len(row["chosen_input_ids"]), len(row["rejected_input_ids"]))


def count(tokenizer, ids, token):
    return ids.count(tokenizer.convert_tokens_to_ids(token))


def listed(loaded, name):
    path = loaded.skipped.with_name(name)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def refused(load, **changes):
    with pytest.raises(ValueError) as caught:
        for row in load(cutoff_len=LIMIT, **changes).train:
            assert row
    return str(caught.value)


def check_batch(loaded, tokenizer_module):
    """Every image token of the batch has its patches, and every image is whole."""
    from resonance.rows.collate import PreferenceCollator

    tokenizer = tokenizer_module["tokenizer"]
    batch = PreferenceCollator(template=loaded.template, **tokenizer_module)(list(loaded.train))
    pads = int((batch["input_ids"] == tokenizer.convert_tokens_to_ids(PAD)).sum())
    assert pads == int(batch["image_grid_thw"].prod(-1).sum()) // 4
    assert batch["pixel_values"].shape[0] == pads * 4
    starts, ends = (int((batch["input_ids"] == tokenizer.convert_tokens_to_ids(mark)).sum()) for mark in (START, END))
    assert starts == ends == len(batch["image_grid_thw"])
    return batch


# -- nothing too long -------------------------------------------------------------------------------------------------


def test_pairs_that_fit_are_tokenized_as_llamafactory_does(cases, load, monkeypatch):
    import llamafactory.data.loader as loader
    from llamafactory.data.processor import PairwiseDatasetProcessor

    ours = load(cutoff_len=512, needs_scores=False).train
    monkeypatch.setattr(loader, "PairwiseDatasetProcessor", PairwiseDatasetProcessor)
    theirs = load(cutoff_len=512, needs_scores=False).train
    columns = [name for name in theirs.column_names if not name.startswith("_")]
    assert len(columns) == 9 and len(ours) == 6
    for name in columns:
        assert list(ours[name]) == list(theirs[name]), name


def test_golden_pairs_are_tokenized_as_llamafactory_does(data, load, monkeypatch):
    import llamafactory.data.loader as loader
    from llamafactory.data.processor import PairwiseDatasetProcessor

    from conftest import DATA

    shutil.copytree(DATA, data.folder, dirs_exist_ok=True)
    ours = load(cutoff_len=512).train
    monkeypatch.setattr(loader, "PairwiseDatasetProcessor", PairwiseDatasetProcessor)
    theirs = load(cutoff_len=512).train
    for name in ("chosen_input_ids", "rejected_input_ids", "chosen_labels", "rejected_labels", "images"):
        assert list(ours[name]) == list(theirs[name]), name


def test_images_are_not_decoded_to_count_their_tokens(data, make_pair, load, monkeypatch):
    from llamafactory.data.mm_plugin import MMPluginMixin
    from PIL import ImageFile

    data.write([make_pair(i) for i in range(3)])
    load()  # the counter's comparison with the real path
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(MMPluginMixin, "_get_mm_inputs", lambda *_: pytest.fail("patchified"))
    assert len(load(overwrite_cache=True).train) == 3


@pytest.mark.parametrize("policy", ["error", "drop", "shrink_image", "cut_text"])
def test_a_family_that_cannot_be_counted_from_headers_gives_the_same_rows(cases, data, load, monkeypatch, policy):
    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    wanted = {"error": (0, 3), "shrink_image": (0, 1, 3, 4), "cut_text": (0, 2, 3, 5)}.get(policy, range(6))
    data.write([rows[i] for i in wanted], "pairs.jsonl")
    counted = list(load(cutoff_len=LIMIT, overlong=policy).train)
    monkeypatch.setattr("resonance.rows.vision.counter.make_counter", lambda *_: None)
    assert list(load(cutoff_len=LIMIT, overlong=policy, overwrite_cache=True).train) == counted


# -- error ------------------------------------------------------------------------------------------------------------


def test_error_lists_every_row_with_its_tokens_and_the_cures(cases, load, tmp_path):
    message = refused(load)
    assert "4 problems in 4 of 6 rows (4 too long)" in message
    for row in (1, 2, 4, 5):
        assert f"{cases}, row {row}: " in message
    assert "more than `cutoff_len: 90`" in message and "66 of these for media" in message
    needed = max(int(line.split(": ")[1].split()[0]) for line in message.splitlines() if ", row " in line)
    assert f"Set `cutoff_len: {needed}`, or `overlong: drop`" in message
    assert "`overlong: shrink_image`" in message and "`overlong: cut_text`" in message
    assert len(load(cutoff_len=needed).train) == 6, "the cure cures"


def test_every_row_is_listed_even_if_the_message_shows_ten(data, make_pair, load, tmp_path):
    data.write([make_pair(i % 6) for i in range(30)])
    with pytest.raises(ValueError) as caught:
        load(cutoff_len=20)
    message = str(caught.value)
    assert "... and 20 more." in message and "overlong_rows.jsonl" in message
    lines = (tmp_path / "out" / "overlong_rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == list(range(30))
    assert json.loads(lines[0])["limits"] == {"cutoff_len": 20}


def test_error_in_a_stream_names_the_row(cases, load):
    message = refused(load, streaming=True)
    assert f"{cases}, row 1: " in message and "`overlong: drop`" in message


def test_an_image_that_was_made_smaller_is_measured_anew(cases, data, load):
    assert "row 1" in refused(load)
    big_image(data, "big.png", (32, 32))
    assert "row 1" not in refused(load)


@pytest.mark.parametrize(("key", "rows"), [("max_prompt_length", {1, 2, 4}), ("max_target_length", {5})])
def test_limits_of_prompt_and_response(cases, load, key, rows):
    with pytest.raises(ValueError) as caught:
        load(cutoff_len=2000, **{key: 70})
    message = str(caught.value)
    assert {row for row in range(6) if f"row {row}: " in message} == rows
    assert f"more than `{key}: 70`" in message and f"Set `{key}: " in message


# -- drop -------------------------------------------------------------------------------------------------------------


@STREAMING
def test_drop_counts_and_lists(cases, load, streaming, warnings_of_rows):
    loaded = load(cutoff_len=LIMIT, overlong="drop", streaming=streaming)
    assert [row["_row"] for row in loaded.train] == [0, 3]
    skipped = listed(loaded, "skipped_rows.jsonl")
    assert [(entry["row"], entry["reason"]) for entry in skipped] == [(row, "too long") for row in (1, 2, 4, 5)]
    assert skipped[0]["tokens"]["image_tokens"] == 66
    text = "\n".join(warnings_of_rows)
    assert ("row 1: skipped, " if streaming else "kept 2 of 6 rows, skipped 4") in text
    assert all("_overlong" not in row for row in loaded.train)


def test_drop_that_leaves_nothing_is_an_error(data, make_pair, load):
    data.write([make_pair(i) for i in range(3)])
    with pytest.raises(ValueError, match="No row is left. Raise `cutoff_len`"):
        load(cutoff_len=20, overlong="drop")
    with pytest.raises(ValueError, match="No row is left. Raise `max_target_length`"):
        load(max_target_length=2, overlong="drop")


# -- shrink_image -----------------------------------------------------------------------------------------------------


@STREAMING
def test_shrink_makes_the_images_of_a_row_smaller_and_the_batch_agrees(
    cases, data, load, make_pair, tokenizer_module, streaming, warnings_of_rows
):
    from PIL import Image

    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    data.write([rows[i] for i in (0, 1, 3, 4)], "pairs.jsonl")
    loaded = load(cutoff_len=LIMIT, overlong="shrink_image", streaming=streaming)
    trained = list(loaded.train)
    assert [row["_row"] for row in trained] == [0, 1, 2, 3]
    assert all(tokens(row) <= LIMIT for row in trained)
    sizes = [json.loads(row["_image_sizes"] or "[]") for row in trained]
    assert [len(row) for row in sizes] == [0, 1, 0, 2]
    (width, height), _ = sizes[3]
    small, large = (Image.open(data.folder / path).size for path in rows[4]["images"])
    assert width * height >= 32 * 32 or (width, height) == small, "not below the floor"
    assert sizes[3][1][0] < large[0]
    check_batch(loaded, tokenizer_module)
    entries = listed(loaded, "shortened_rows.jsonl")
    assert [(entry["row"], entry["policy"]) for entry in entries] == [(1, "shrink_image"), (3, "shrink_image")]
    assert all(
        e["left"]["prompt"] < e["tokens"]["prompt"] and e["left"]["chosen"] == e["tokens"]["chosen"] for e in entries
    )
    assert "smaller images in" in "\n".join(warnings_of_rows)


def test_shrink_takes_the_largest_size_that_fits(cases, data, load, make_pair):
    data.write([make_pair(1) | {"images": ["images/big.png"]}])
    tight, loose = (load(cutoff_len=limit, overlong="shrink_image").train[0] for limit in (LIMIT, LIMIT + 30))
    assert LIMIT - 12 < tokens(tight) <= LIMIT and tokens(loose) > tokens(tight)


def test_shrink_cannot_help_where_the_text_is_too_long(cases, load):
    message = refused(load, overlong="shrink_image")
    assert "row 2" in message and "row 5" in message and "row 1:" not in message and "row 4:" not in message
    assert "`overlong: shrink_image` cannot help: with its images at their smallest it has" in message
    assert "or `overlong: drop` (leave such rows out) or `overlong: cut_text`" in message


def test_shrink_of_a_row_without_images(data, make_pair, load):
    text = {**make_pair(0), "instruction": LONG * 2, "images": []}
    data.write([make_pair(1), text])
    assert "it has no images to make smaller" in refused(load, overlong="shrink_image")


def test_only_what_helps_is_proposed(data, make_pair, load):
    """Smaller images do nothing for text; a prompt whose markup alone is too long can only be left out."""
    data.write([{**make_pair(0), "instruction": LONG * 2, "images": []}])
    assert refused(load).endswith(
        "or `overlong: drop` (leave such rows out) or `overlong: cut_text` (shorten their text)."
    )
    with pytest.raises(
        ValueError, match=r"Set `cutoff_len: \d+`, or `overlong: drop` \(leave such rows out\)\. Or correct"
    ):
        load(cutoff_len=8, overlong="cut_text")


def test_one_row_that_cannot_be_cut_can_be_removed_alone(data, make_pair, load):
    """Its image alone is too long; the other long row is cut as asked."""
    rows = [
        {**make_pair(0), "instruction": f"<image>{LONG * 2}"},
        {**make_pair(1), "images": [big_image(data, "b.png")]},
    ]
    data.write(rows)
    message = refused(load, overlong="cut_text")
    assert message.endswith("Or correct or remove row 1 alone: `overlong: cut_text` does for the others.")
    data.write(rows[:1])
    assert len(load(cutoff_len=LIMIT, overlong="cut_text").train) == 1


def test_shrunk_rows_of_images_in_parquet(cases, data, load, make_pair, tokenizer_module):
    images = [
        {"bytes": (data.folder / name).read_bytes(), "path": None} for name in ("images/0.png", "images/big.png")
    ]
    rows = [make_pair(i) | {"images": [image]} for i, image in enumerate(images)]
    data.write(rows, "pairs.parquet")
    loaded = load(cutoff_len=LIMIT, overlong="shrink_image")
    assert tokens(loaded.train[1]) <= LIMIT
    check_batch(loaded, tokenizer_module)


# -- cut_text ---------------------------------------------------------------------------------------------------------


@STREAMING
def test_cut_keeps_images_markup_and_the_end_of_the_prompt(cases, data, load, tokenizer_module, streaming):
    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    data.write([rows[i] for i in (0, 2, 5)], "pairs.jsonl")
    loaded = load(cutoff_len=LIMIT, overlong="cut_text", streaming=streaming)
    _, text, answers = trained = list(loaded.train)
    assert all(tokens(row) <= LIMIT for row in trained)
    prompt = tokenizer_module["tokenizer"].decode(
        [token for token, label in zip(text["chosen_input_ids"], text["chosen_labels"], strict=True) if label == -100]
    )
    assert prompt.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")
    assert prompt.endswith("Which colour?<|im_end|>\n<|im_start|>assistant\n")
    assert f"user\n{START}{PAD}" in prompt, "all the text before the image went first"
    for side in ("chosen", "rejected"):
        kept = [label for label in answers[f"{side}_labels"] if label != -100]
        assert kept and tokenizer_module["tokenizer"].eos_token_id not in kept, "a cut answer does not end"
    batch = check_batch(loaded, tokenizer_module)
    assert batch["input_ids"].shape[1] <= LIMIT + 8
    assert [entry["row"] for entry in listed(loaded, "shortened_rows.jsonl")] == [1, 2]


def test_cut_prompt_length_applies_only_to_pairs_over_the_cutoff(cases, load):
    limits = {"overlong": "cut_text", "max_prompt_length": 80}
    loaded = load(cutoff_len=2000, **limits)
    assert not listed(loaded, "shortened_rows.jsonl")
    row = load(cutoff_len=140, max_samples=3, **limits).train[2]
    prompt = row["chosen_labels"].index(next(label for label in row["chosen_labels"] if label != -100))
    assert 76 <= prompt <= 80, "as much of its end as fits"


def test_cut_target_length_applies_to_every_answer(cases, load):
    loaded = load(cutoff_len=2000, overlong="cut_text", max_target_length=5)
    for row in loaded.train:
        for side in ("chosen", "rejected"):
            assert 1 <= sum(label != -100 for label in row[f"{side}_labels"]) <= 5


def test_cut_cannot_help_where_images_alone_do_not_fit(cases, load):
    message = refused(load, overlong="cut_text")
    assert "row 1: " in message and "row 4: " in message and "row 2: " not in message and "row 5: " not in message
    assert (
        "`overlong: cut_text` cannot help: what is never cut of a prompt (media, system message, markup) take"
        in message
    )
    with pytest.raises(ValueError, match="and `max_prompt_length: 50` leaves none for text"):
        load(cutoff_len=150, overlong="cut_text", max_prompt_length=50)


@pytest.fixture
def image_in_answers(data, make_pair):
    """One pair whose prompt is long text, and whose answers end with a large image."""
    answers = {"chosen": "It is green, as here: <image>", "rejected": "It is blue, as here: <image>"}
    data.write([{**make_pair(1), "instruction": LONG * 2, "images": [big_image(data, "big.png")], **answers}])


def test_cut_keeps_an_image_near_the_end_of_an_answer_whole(image_in_answers, load, tokenizer_module):
    """The prompt gives way further than the rule of shares would have it."""
    loaded = load(cutoff_len=150, overlong="cut_text")
    row, tokenizer = loaded.train[0], tokenizer_module["tokenizer"]
    assert 140 < tokens(row) <= 150
    for side in ("chosen", "rejected"):
        answer = [label for label in row[f"{side}_labels"] if label != -100]
        assert count(tokenizer, answer, START) == count(tokenizer, answer, END) == 1
        assert count(tokenizer, answer, PAD) == 64, "280 x 280 pixels at 28 x 28 a token, resized to 8 x 8 tokens"
    check_batch(loaded, tokenizer_module)


def test_cut_cannot_help_where_an_image_of_an_answer_is_over_the_target_length(image_in_answers, load):
    message = refused(load, overlong="cut_text", max_target_length=60)
    assert "`overlong: cut_text` cannot help: a response has an image that ends at its token 8" in message


def test_cut_never_splits_a_tool_call(data, make_pair, load):
    call = json.dumps({"name": "look", "arguments": {"where": "left " * 30}})
    turns = [("human", "<image>Which colour?"), ("function_call", call), ("observation", LONG)]
    row = make_pair(0, "sharegpt") | {"conversations": [{"from": role, "value": value} for role, value in turns]}
    data.write([make_pair(1, "sharegpt"), row], formatting="sharegpt")
    whole = load(cutoff_len=2000).train[1]
    trained = load(cutoff_len=tokens(whole) - 20, overlong="cut_text").train[1]
    assert tokens(whole) - 24 <= tokens(trained) <= tokens(whole) - 20


# -- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["drop", "cut_text", "shrink_image"])
def test_workers_and_cache_give_the_same_rows(cases, data, load, policy):
    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    data.write(
        [rows[i] for i in {"shrink_image": (0, 1, 3, 4), "cut_text": (0, 2, 3, 5)}.get(policy, range(6))],
        "pairs.jsonl",
    )
    first = list(load(cutoff_len=LIMIT, overlong=policy).train)
    assert list(load(cutoff_len=LIMIT, overlong=policy).train) == first
    assert (
        list(load(cutoff_len=LIMIT, overlong=policy, preprocessing_num_workers=2, overwrite_cache=True).train) == first
    )


def test_another_policy_or_limit_does_not_read_the_cache(cases, load):
    assert len(load(cutoff_len=LIMIT, overlong="drop").train) == 2
    assert len(load(cutoff_len=LIMIT + 50, overlong="drop").train) > 2
    assert "row 1" in refused(load)


def test_measure_is_what_a_row_has_without_a_limit(cases, load, tokenizer_module):
    from resonance.rows.encode import PairEncoder
    from resonance.rows.overlong.policy import measure

    loaded = load(cutoff_len=2000)
    row = {"_prompt": [{"role": "user", "content": "<image>Which colour?"}], "_system": "", "_tools": ""}
    row |= {"_images": [str(cases.parent / "images/big.png")], "_videos": None, "_audios": None}
    pair = [{"role": "assistant", "content": f"It is {colour}."} for colour in ("green", "blue")]
    encoder = PairEncoder(loaded.template, **tokenizer_module)
    found = measure({**row, "_response": pair}, encoder)
    trained = loaded.train[1]
    assert found.prompt == trained["chosen_labels"].index(next(t for t in trained["chosen_labels"] if t != -100))
    assert found.total == tokens(trained) and found.image_tokens == 66
    single = measure({**row, "_response": pair[:1]}, encoder)
    assert single == found._replace(rejected=0)


# -- tokenized_path ---------------------------------------------------------------------------------------------------


def test_a_saved_set_is_refused_under_other_settings(cases, load, tmp_path):
    path = str(tmp_path / "saved")
    first = load(cutoff_len=LIMIT, overlong="drop", tokenized_path=path)
    again = load(cutoff_len=LIMIT, overlong="drop", tokenized_path=path)
    assert list(again.train) == list(first.train) and len(first.train) == 2
    with pytest.raises(ValueError) as caught:
        load(cutoff_len=LIMIT + 1, overlong="cut_text", tokenized_path=path)
    assert f"cutoff_len: {LIMIT}, now {LIMIT + 1}" in str(caught.value)
    assert "overlong: 'drop', now 'cut_text'" in str(caught.value) and "Delete it" in str(caught.value)


def test_a_set_saved_before_plans_had_kinds_is_still_read(cases, load, tmp_path):
    path = tmp_path / "saved"
    load(cutoff_len=512, tokenized_path=str(path))
    settings = json.loads((path / "resonance_rows.json").read_text())
    (path / "resonance_rows.json").write_text(json.dumps({**settings, "pairs": True}))
    assert "kind" not in settings and len(load(cutoff_len=512, tokenized_path=str(path)).train) == 6


def test_a_saved_set_of_unknown_settings_is_read_with_a_warning(cases, load, tmp_path, warnings_of_rows):
    path = tmp_path / "saved"
    load(cutoff_len=512, tokenized_path=str(path))
    (path / "resonance_rows.json").unlink()
    assert len(load(cutoff_len=LIMIT, tokenized_path=str(path)).train) == 6
    assert "does not say how it was made" in "\n".join(warnings_of_rows)
