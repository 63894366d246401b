# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Ugly rows: each stops the run with file, row and cure, or is left out, counted and listed. Nothing is lost."""

from __future__ import annotations

import json
import re
import traceback
import zlib

import pytest

from resonance.rows.validate.json_files import explain_unreadable

BOTH = pytest.mark.parametrize("streaming", [False, True])


def write_with(data, make_pair, changes, count=6, extension="jsonl", **entry):
    """Write `count` good rows; `changes` maps a row number to the keys it overrides (None removes the key)."""
    rows = [make_pair(i) for i in range(count)]
    for i, override in changes.items():
        rows[i] = {key: value for key, value in {**rows[i], **override}.items() if value is not Ellipsis}
    return data.write(rows, f"pairs.{extension}", **entry)


def refused(load, **changes) -> str:
    """The message of the ValueError that loading raises."""
    with pytest.raises(ValueError) as caught:
        for row in load(**changes).train:
            assert row
    return str(caught.value)


def kept(load, **changes) -> list[int]:
    return [row["_row"] for row in load(**changes).train]


# -- images -----------------------------------------------------------------------------------------------------------


@BOTH
def test_missing_image(data, load, make_pair, streaming):
    path = write_with(data, make_pair, {3: {"images": ["images/gone.png"]}})
    message = refused(load, streaming=streaming)
    assert f"{path}, row 3: image 'images/gone.png' does not exist" in message
    assert f"looked for {data.folder}/images/gone.png and images/gone.png" in message
    assert "set `media_dir`" in message


def test_missing_image_can_be_added_and_the_run_repeated(data, load, make_pair):
    write_with(data, make_pair, {3: {"images": ["images/late.png"]}})
    assert "does not exist" in refused(load)
    (data.folder / "images/late.png").write_bytes((data.folder / "images/0.png").read_bytes())
    rows = list(load().train)
    assert rows[3]["images"] == [str(data.folder / "images/late.png")]


@BOTH
def test_corrupt_image(data, load, make_pair, streaming):
    (data.folder / "images/2.png").write_bytes(b"this is no image")
    path = write_with(data, make_pair, {})
    message = refused(load, streaming=streaming)
    assert f"{path}, row 2: image '{data.folder}/images/2.png' cannot be read (UnidentifiedImageError" in message
    assert "Replace the image, or remove the row" in message


@BOTH
def test_image_that_ends_early_is_named_when_it_is_decoded(data, load, make_pair, streaming):
    from PIL import Image

    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    noise.save(data.folder / "images/4.png")
    whole = (data.folder / "images/4.png").read_bytes()
    (data.folder / "images/4.png").write_bytes(whole[: len(whole) // 2])
    path = write_with(data, make_pair, {})
    with pytest.raises(ValueError, match=re.escape(f"{path}, row 4: cannot be tokenized (OSError: ")) as caught:
        list(load(streaming=streaming).train)
    assert isinstance(caught.value.__cause__, OSError)


@BOTH
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"images": ["images/1.png", "images/2.png"]}, "2 images but 1 `<image>` in prompt + chosen"),
        ({"images": []}, "0 images but 1 `<image>` in prompt + chosen"),
        ({"instruction": "<image><image>Which?"}, "1 image but 2 `<image>` in prompt + chosen"),
        ({"instruction": "Which?"}, "1 image but 0 `<image>` in prompt + chosen"),
        ({"rejected": "<image> yes"}, "1 image but 2 `<image>` in prompt + rejected"),
        ({"instruction": "<image><video>"}, "0 videos but 1 `<video>` in prompt + chosen"),
    ],
)
def test_media_and_placeholders_must_agree(data, load, make_pair, streaming, change, found):
    path = write_with(data, make_pair, {1: change})
    message = refused(load, streaming=streaming)
    assert f"{path}, row 1: {found}" in message
    assert "Write one placeholder per item" in message


def test_placeholders_are_ordinary_text_for_a_text_only_template(data, load, make_pair):
    rows = [{**make_pair(i), "instruction": "What does <video> do in HTML?"} for i in range(3)]
    data.write([{k: v for k, v in row.items() if k != "images"} for row in rows], scores=True)
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    columns |= {"score_chosen": "score_chosen", "score_rejected": "score_rejected"}
    data.register("pairs", "pairs.json", columns=columns)
    assert kept(load, template="qwen") == [0, 1, 2]


def test_missing_video(data, load, make_pair):
    path = write_with(data, make_pair, {0: {"videos": ["v.mp4"], "instruction": "<image><video>"}}, extension="json")
    info = json.loads((data.folder / "dataset_info.json").read_text())
    data.register("pairs", "pairs.json", columns=info["pairs"]["columns"] | {"videos": "videos"})
    assert f"{path}, row 0: video 'v.mp4' does not exist" in refused(load)


@BOTH
@pytest.mark.parametrize("kind", ["feature", "bytes"])
def test_images_inside_a_parquet_file(data, load, make_pair, streaming, kind):
    """Embedded images work, and a broken one is named, whether the column is a `datasets` Image or plain bytes."""
    import datasets

    def write(blobs):
        rows = [make_pair(i) for i in range(3)]
        for row, blob in zip(rows, blobs, strict=True):
            row["images"] = [{"bytes": blob, "path": None}] if kind == "feature" else [blob]
        table = datasets.Dataset.from_list(rows)
        if kind == "feature":
            table = table.cast_column("images", [datasets.Image()])
        table.to_parquet(str(data.folder / "pairs.parquet"))
        data.register("pairs", "pairs.parquet")

    good = [(data.folder / f"images/{i}.png").read_bytes() for i in range(3)]
    write(good)
    assert kept(load, streaming=streaming) == [0, 1, 2]

    write([good[0], b"no image", good[2]])
    message = refused(load, streaming=streaming)
    assert f"{data.folder}/pairs.parquet, row 1: " in message
    assert "UnidentifiedImageError" in message


# -- scores -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("extension", ["json", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "missing"),
        (float("nan"), "not finite but nan"),
        (float("inf"), "not finite but inf"),
        (1e39, "larger than a batch holds"),
        (..., "missing"),
    ],
)
def test_score_missing_or_not_finite(data, load, make_pair, streaming, extension, value, found):
    path = write_with(data, make_pair, {2: {"score_rejected": value}}, extension=extension)
    message = refused(load, streaming=streaming)
    if extension == "json" and value != value:
        found = "missing (null or absent)"
    assert f"{path}, row 2: `score_rejected` is {found}" in message
    assert "Give every row a finite number" in message
    assert kept(load, needs_scores=False, streaming=streaming) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("extension", ["json", "jsonl"])
@BOTH
def test_score_that_is_text_in_some_rows(data, load, make_pair, extension, streaming):
    path = write_with(data, make_pair, {1: {"score_chosen": "abc"}, 4: {"score_chosen": "4.5"}}, extension=extension)
    message = refused(load, streaming=streaming)
    assert f"{path}, row 1: `score_chosen` is text 'abc', where 4 other rows have a number" in message
    assert f"{path}, row 4: `score_chosen` is text '4.5'" in message
    assert "Give the column one type in every row" in message


@BOTH
@pytest.mark.parametrize("extension", ["json", "jsonl", "parquet"])
def test_score_that_is_text_in_every_row(data, load, make_pair, streaming, extension):
    path = write_with(data, make_pair, {i: {"score_chosen": "4.5"} for i in range(6)}, extension=extension)
    assert f"{path}, row 5: `score_chosen` is not a number but str '4.5'" in refused(load, streaming=streaming)


@BOTH
def test_loss_needs_scores_but_the_entry_declares_none(data, load, make_pair, streaming):
    data.write([make_pair(0)], scores=False)
    message = refused(load, streaming=streaming)
    assert "for `score_chosen`: the loss, `score_margin` or `score_order` of this recipe needs scores" in message
    assert 'add `"score_chosen": "<col' in message
    assert 'add `"score_rejected": "<column>"` under "columns"' in message
    assert "Columns in the data: instruction, chosen, rejected, images, score_chosen, score_rejected." in message


def test_entry_names_a_column_that_is_not_there(data, load, make_pair):
    data.write([make_pair(0)])
    columns = {"prompt": "instruction", "chosen": "chosne", "rejected": "rejected", "images": "image"}
    data.register("pairs", "pairs.json", columns=columns)
    message = refused(load)
    assert "`chosen` names column `chosne`, which the data does not have; did you mean `chosen`?" in message
    assert "`images` names column `image`, which the data does not have; did you mean `images`?" in message


# -- rows that teach nothing ------------------------------------------------------------------------------------------

SKIPS = {
    0: ({"chosen": "  "}, "empty response"),
    1: ({"rejected": ""}, "empty response"),
    2: ({"rejected": "It is blue."}, "identical pair"),
    4: ({"chosen": None}, "invalid turns"),
}


@BOTH
def test_skips_are_counted_explained_and_listed(data, load, make_pair, warnings_of_rows, streaming):
    path = write_with(data, make_pair, {i: change for i, (change, _) in SKIPS.items()})

    result = load(streaming=streaming)

    assert [row["_row"] for row in result.train] == [3, 5]
    listed = [json.loads(line) for line in result.skipped.read_text().splitlines()]
    assert listed == [{"source": str(path), "row": i, "reason": reason} for i, (_, reason) in SKIPS.items()]
    if streaming:
        assert warnings_of_rows[2] == f"{path}, row 2: skipped, identical pair; listed in {result.skipped}."
        assert len(warnings_of_rows) == 4
    else:
        assert warnings_of_rows == [
            "Dataset pairs.jsonl: kept 2 of 6 rows, skipped 4 (reason, rows): "
            f"2 empty response (0, 1); 1 identical pair (2); 1 invalid turns (4). "
            f"Every skipped row is listed in {result.skipped}."
        ]


def test_skips_are_listed_once_when_a_file_is_loaded_twice(data, load, make_pair):
    write_with(data, make_pair, {1: {"rejected": ""}})
    result = load(eval_dataset="pairs")
    assert [row["_row"] for row in result.eval] == [0, 2, 3, 4, 5]
    assert len(result.skipped.read_text().splitlines()) == 1


def test_a_row_that_is_drawn_twice_is_listed_once(data, load, make_pair):
    write_with(data, make_pair, {0: {"rejected": ""}}, count=2)
    data.register("pairs", "pairs.jsonl", num_samples=40)  # LlamaFactory draws the rest with replacement
    assert set(kept(load)) == {1}
    assert len((data.folder.parent / "out/skipped_rows.jsonl").read_text().splitlines()) == 1


def test_an_old_list_of_skipped_rows_is_removed(data, load, make_pair, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/skipped_rows.jsonl").write_text("from another run\n")
    write_with(data, make_pair, {})
    assert not load().skipped.exists()


def test_nothing_left(data, load, make_pair):
    write_with(data, make_pair, {i: {"rejected": " "} for i in range(6)})
    message = refused(load)
    assert "kept 0 of 6 rows, skipped 6 (reason, rows): 6 empty response (0, 1, 2, 3, 4, ...)" in message
    assert message.endswith("No row is left.")


@pytest.mark.parametrize("formatting", ["sharegpt", "openai"])
def test_turns_that_do_not_alternate(data, load, make_pair, formatting):
    rows = [make_pair(i, formatting) for i in range(4)]
    messages = "conversations" if formatting == "sharegpt" else "messages"
    rows[1][messages] = rows[1][messages] * 2
    rows[2]["chosen"] = {**rows[2][messages][0]}
    data.write(rows, formatting=formatting)
    result = load()
    assert [row["_row"] for row in result.train] == [0, 3]
    assert [json.loads(line)["reason"] for line in result.skipped.read_text().splitlines()] == ["invalid turns"] * 2


# -- messages ---------------------------------------------------------------------------------------------------------


def test_every_problem_is_told_at_once_and_sorted(data, load, make_pair):
    changes = {i: {"images": [f"images/no{i}.png"]} for i in range(12)}
    changes |= {14: {"score_chosen": None}, 16: {"rejected": "", "score_chosen": None}}
    rows = [{**make_pair(i), "images": [f"images/{i % 6}.png"]} for i in range(20)]
    for i, change in changes.items():
        rows[i] |= change
    data.write(rows)
    lines = refused(load).splitlines()
    assert lines[0] == (
        "Dataset pairs.json: 13 problems in 13 of 20 rows (12 image missing, 1 bad score). Rows count from 0."
    )
    assert sum("does not exist" in line for line in lines) == 10
    assert "  ... and 3 more." in lines
    assert [line[:20] for line in lines[-2:]] == ["To do (image missing", "To do (bad score): G"]


def test_rows_that_cannot_be_converted_are_all_named(data, load, make_pair):
    rows = [make_pair(i, "sharegpt") for i in range(4)]
    rows[1]["conversations"][0]["from"] = "stranger"
    rows[2]["chosen"]["from"] = "stranger"
    rows[3]["rejected"]["from"] = "stranger"
    path = data.write(rows, formatting="sharegpt")
    message = refused(load)
    assert f"{path}, row 2: cannot be converted (KeyError: 'stranger')" in message
    assert f"{path}, row 3: cannot be converted" in message
    assert "`columns` and `tags`" in message


def test_a_line_that_is_no_json(data, load, make_pair):
    path = data.write([make_pair(i) for i in range(3)], "pairs.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:40], lines[2]]))
    message = refused(load)
    assert f"{path}, row 1: " in message and "json.tool" in message


def test_a_file_that_is_no_parquet(data, load):
    (data.folder / "pairs.parquet").write_bytes(b"PAR1 not really")
    data.register("pairs", "pairs.parquet")
    assert f"Cannot read {data.folder}/pairs.parquet: " in refused(load)


def test_an_empty_file(data, load):
    (data.folder / "pairs.json").write_text("[]")
    data.register("pairs", "pairs.json")
    assert f"Cannot read {data.folder}/pairs.json: " in refused(load)


def test_an_unwritable_output_folder(data, load, make_pair, tmp_path):
    write_with(data, make_pair, {0: {"rejected": ""}})
    (tmp_path / "file").write_text("")
    assert "Choose a writable `output_dir`" in refused(load, output_dir=str(tmp_path / "file" / "out"))


def test_problems_hide_no_cause(data, load, make_pair):
    """The original exception stays in the chain for those who debug a converter of their own."""
    rows = [make_pair(i, "sharegpt") for i in range(2)]
    rows[1]["chosen"]["from"] = "stranger"
    data.write(rows, formatting="sharegpt")
    with pytest.raises(ValueError) as caught:
        load()
    assert "KeyError: 'stranger'" in "".join(traceback.format_exception(caught.value))


def test_a_chosen_score_below_the_rejected_one_is_legal_but_told(data, load, make_pair, warnings_of_rows):
    lower = {"score_chosen": 1.0, "score_rejected": 4.0}
    write_with(data, make_pair, {2: lower, 4: lower})
    assert kept(load) == [0, 1, 2, 3, 4, 5]
    told = [text for text in warnings_of_rows if "below the rejected one" in text]
    assert len(told) == 1 and "in 2 rows (2, 4)" in told[0] and "`score_chosen` and `score_rejected`" in told[0]


@pytest.mark.parametrize("streaming", [False, True])
def test_scores_that_are_mostly_reversed_stop_a_loss_that_reads_them(
    data, load, make_pair, warnings_of_rows, streaming
):
    lower, equal = {"score_chosen": 1.0, "score_rejected": 4.0}, {"score_chosen": 2.0, "score_rejected": 2.0}
    write_with(data, make_pair, {0: lower, 1: lower, 2: lower, 4: equal})
    told = refused(load, streaming=streaming)
    assert "in 3 rows (0, 1, 2), and above it in 2" in told and "exchange them" in told and "pairs" in told
    kept(load, needs_scores=False)
    if not streaming:
        return
    write_with(data, make_pair, {0: lower, 4: equal})
    kept(load, streaming=True, overwrite_cache=True)
    assert any("in 1 rows (0)" in text for text in warnings_of_rows)


def test_scores_in_order_are_not_remarked_on(data, load, make_pair, warnings_of_rows):
    write_with(data, make_pair, {})
    assert kept(load) == [0, 1, 2, 3, 4, 5]
    assert not any("below the rejected one" in text for text in warnings_of_rows)


@pytest.mark.parametrize(
    "text",
    ['[\n{"a": "x"},\n{"a": 1},\n{"a": "z"}\n]', '{"a": "x"}\n{"a": 1}\n\n{"a": "y\u2028z"}\n'],
    ids=["a list over several lines", "a line separator within text"],
)
def test_what_is_wrong_is_found_however_lines_are_broken(tmp_path, text):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text, encoding="utf-8")
    explained = explain_unreadable([str(path)], ValueError())
    assert "row 1: `a` is a number 1, where 2 other rows have text" in str(explained)


def test_rows_of_the_usual_type_are_counted_without_the_row_itself(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"a": "x", "b": ["x"]}\n{"a": 1, "b": ["y", 2]}\n')
    explained = str(explain_unreadable([str(path)], ValueError()))
    assert "row 1: `a` is a number 1, where 1 other row has text" in explained
    assert "row 1: `b[]` is a number 2, where 1 other row has text" in explained


# -- a model's own tokens, and media that are neither paths nor frames ------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"instruction": "<image>What is <|image_pad|>?"}, "the prompt holds `<|image_pad|>`"),
        ({"chosen": "It is <|image_pad|>."}, "the answer holds `<|image_pad|>`"),
        ({"rejected": "<|video_pad|> it is."}, "the answer holds `<|video_pad|>`"),
        ({"system": "Look at <|image_pad|>."}, "the system prompt holds `<|image_pad|>`"),
    ],
)
def test_a_models_own_media_token_stops_before_the_first_step(data, load, make_pair, change, told):
    path = write_with(data, make_pair, {3: change})
    info = data.folder / "dataset_info.json"
    entries = json.loads(info.read_text())
    if "system" in change:
        entries["pairs"]["columns"]["system"] = "system"
        info.write_text(json.dumps(entries))
    message = refused(load)
    assert f"{path}, row 3: {told}, which the model reads as" in message


def test_other_special_tokens_of_a_model_are_text(data, load, make_pair):
    write_with(data, make_pair, {3: {"chosen": "<|vision_start|>It<|im_end|> <tool_call>"}})
    assert kept(load) == list(range(6))


def test_the_media_tokens_of_other_families():
    from types import SimpleNamespace

    from resonance.rows.encode import media_token, media_tokens

    row = {"_prompt": [{"role": "user", "content": "<image>?"}], "_system": "", "_tools": ""}
    row["_response"] = [{"role": "assistant", "content": "<IMG_CONTEXT>"}]
    internvl = media_tokens(
        SimpleNamespace(image_token="<image>", video_token="<video>", audio_token=None),
        SimpleNamespace(image_token="<IMG_CONTEXT>"),
    )
    assert media_token(row, internvl).startswith("the answer holds `<IMG_CONTEXT>`")
    llava = media_tokens(SimpleNamespace(image_token="<image>"), None)
    assert media_token(row, llava) is None
    assert media_token({**row, "_system": "<image>"}, llava).startswith("the system prompt holds `<image>`")
    assert media_token({**row, "_tools": '[{"name": "<image>"}]'}, llava).startswith(
        "the description of the tools holds"
    )
    assert media_tokens(SimpleNamespace(), None) == frozenset()


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"url": "a", "crop": 2}, "a mapping with ['crop', 'url']"),
        (7, "int 7"),
        (None, None),
        ("gone", "does not exist"),
    ],
)
def test_videos_and_audios_that_are_no_paths_stop_before_the_first_step(data, load, make_pair, kind, item, told):
    rows = [make_pair(i) for i in range(3)]
    rows = [{**row, "instruction": f"<image><{kind}>?", f"{kind}s": [item]} for row in rows]
    data.write(rows)
    info = data.folder / "dataset_info.json"
    entries = json.loads(info.read_text())
    entries["pairs"]["columns"][f"{kind}s"] = f"{kind}s"
    info.write_text(json.dumps(entries))
    message = refused(load)
    assert "row 2: " in message
    assert (
        told or "NoneType None"
    ) in message and f"3 {kind} {'missing' if item == 'gone' else 'unreadable'}" in message


def test_a_missing_frame_of_a_video_stops_before_the_first_step(data, load, make_pair):
    rows = [
        make_pair(i) | {"instruction": "<image><video>?", "videos": [["images/1.png", "images/no.png"]]}
        for i in (0, 1)
    ]
    data.write(rows)
    info = data.folder / "dataset_info.json"
    entries = json.loads(info.read_text())
    entries["pairs"]["columns"]["videos"] = "videos"
    info.write_text(json.dumps(entries))
    assert "row 1: image 'images/no.png' does not exist" in refused(load)


# -- images whose header is sound -------------------------------------------------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def test_pngs_that_decoding_fails_on_are_found_before_the_first_step(data, load, make_pair):
    path = write_with(data, make_pair, {})
    whole = (data.folder / "images/3.png").read_bytes()
    bomb = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2 << 20)))  # more than Pillow unpacks
    note = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a note"))
    pixels = whole.index(b"IDAT") + 6
    for broken, error in (
        (whole[:-12] + bomb + whole[-12:], "Decompressed data too large"),
        (whole[:pixels] + bytes([whole[pixels] ^ 255]) + whole[pixels + 1 :], "broken data stream"),
    ):
        (data.folder / "images/3.png").write_bytes(broken)
        assert f"{path}, row 3: cannot be tokenized" in (message := refused(load))
        assert error.lower() in message.lower()
        assert (
            f"row 3: image '{data.folder}/images/3.png' cannot be read" in message and "check NAME --decode" in message
        )
    (data.folder / "images/3.png").write_bytes(whole[:-12] + note + whole[-12:])
    assert kept(load) == list(range(6))


def test_an_image_that_fails_in_a_batch_is_named_with_its_path(data, tokenizer_module):
    from resonance.rows.collate import undecodable

    sound, broken = data.folder / "images/1.png", data.folder / "images/2.png"
    whole = broken.read_bytes()
    body = zlib.compress(b"no pixels")
    head = whole[: whole.index(b"IDAT") - 4]
    broken.write_bytes(head + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b""))
    rows = [
        {"_source": "a.json", "_row": i, "images": [str(path)]}
        for i, path in enumerate((sound, broken, broken, sound))
    ]
    told = undecodable(rows)
    assert f"a.json row 1: image '{broken}' cannot be read (OSError" in told and "a.json row 2: " in told
    assert "row 0" not in told and "`resonance data check NAME --decode` finds all of them." in told
    assert undecodable(rows[:1]) == undecodable([{"_source": "a", "_row": 0}]) == ""
