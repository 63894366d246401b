# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Prompts of `stage: ppo`: with and without an answer, in every format, and rows that stop the run."""

from __future__ import annotations

import json

import pytest

from resonance.rows.prompts import columns_by_source, messages_of, meta_of

QUESTION = "<image>Which colour?"
LONG = "Look closely before you answer. " * 60
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
REWARDS = [{"name": "length", "max_length": 9}]
FORMATS = {
    "alpaca": ({"prompt": "prompt"}, lambda text: {"prompt": text}),
    "sharegpt": ({"messages": "conversations"}, lambda text: {"conversations": [{"from": "human", "value": text}]}),
    "openai": ({"messages": "messages"}, lambda text: {"messages": [{"role": "user", "content": text}]}),
}


@pytest.fixture
def prompts(data, load):
    """Write prompts with an image and a level each, with changes by row, and load them; returns (path, load)."""

    def write(changes=(), formatting="alpaca", name="prompts", file="prompts.json", **options):
        columns, make = FORMATS[formatting]
        rows = [{**make(QUESTION), "images": [f"images/{i}.png"], "level": i} for i in range(4)]
        for i, change in dict(changes).items():
            text = change.pop("text", QUESTION)
            rows[i] |= make(text) | change
        path = data.folder / file
        path.write_text(json.dumps(rows))
        info_path = data.folder / "dataset_info.json"
        info = json.loads(info_path.read_text()) if info_path.exists() else {}
        tags = {"tags": TAGS} if formatting == "openai" else {}
        meta = {"meta": options.pop("meta")} if "meta" in options else {}
        named = {**columns, "images": "images", **meta, **options.pop("columns", {})}
        entry = {"file_name": file, "formatting": formatting, "columns": named, **tags}
        info_path.write_text(json.dumps(info | {name: entry}))
        return path, lambda **more: load(**{"stage": "ppo", "rewards": REWARDS, "dataset": name, **options, **more})

    return write


@pytest.fixture
def refused(prompts):
    def run(changes, **options):
        path, load = prompts(changes, **options)
        with pytest.raises(ValueError) as caught:
            load()
        return path, str(caught.value)

    return run


@pytest.mark.parametrize("formatting", FORMATS)
def test_prompts_without_an_answer_in_every_format(prompts, formatting):
    _, load = prompts(formatting=formatting)
    rows = load().train
    assert [meta_of(row) for row in rows] == [{"level": i} for i in range(4)]
    assert len({len(row["input_ids"]) for row in rows}) == 1
    # LlamaFactory gives openai rows a system prompt
    assert [messages_of(row)[-1] for row in rows] == [{"role": "user", "content": QUESTION}] * 4


@pytest.mark.parametrize(
    ("formatting", "token"),
    [("alpaca", "<|image_pad|>"), ("sharegpt", "<|image_pad|>"), ("openai", "<|video_pad|>")],
)
def test_a_media_token_in_the_text(refused, formatting, token):
    bad = {"text": f"{QUESTION} {token}"}
    path, message = refused({1: {**bad}, 3: {**bad}}, formatting=formatting)
    for row in (1, 3):
        assert f"{path}, row {row}: the prompt holds `{token}`, which the model reads as a part of a medium" in message
    assert "To do (media token): Take the token out of the text" in message


def test_a_missing_image(refused, data):
    path, message = refused({0: {"images": ["images/gone.png"]}, 2: {"images": ["images/lost.png"]}})
    assert f"{path}, row 0: image 'images/gone.png' does not exist" in message
    assert f"{path}, row 2: image 'images/lost.png' does not exist" in message
    assert "set `media_dir`" in message


def test_placeholders_without_images(refused):
    path, message = refused({1: {"text": "<image><image>Which?"}})
    assert f"{path}, row 1: 1 image but 2 `<image>` in the prompt" in message


def test_a_prompt_over_the_cutoff(refused):
    path, message = refused({1: {"text": QUESTION + LONG}, 3: {"text": QUESTION + LONG}}, cutoff_len=64)
    for row in (1, 3):
        assert f"{path}, row {row}: " in message
    assert "more than `cutoff_len: 64`" in message and "tokens (prompt " in message
    assert "chosen" not in message, "prompts have no answers"
    assert "`overlong: drop`" in message and "`overlong: cut_text`" in message


@pytest.mark.parametrize(("policy", "left"), [("drop", [0, 2, 3]), ("cut_text", [0, 1, 2, 3])])
def test_the_ways_out_of_the_cutoff(prompts, policy, left):
    _, load = prompts({1: {"text": QUESTION + LONG}}, cutoff_len=64)
    rows = load(overlong=policy).train
    assert [row["_row"] for row in rows] == left
    assert all(len(row["input_ids"]) <= 64 for row in rows)


def test_what_the_message_advises_works(refused, prompts):
    _, message = refused({1: {"text": QUESTION + LONG}}, cutoff_len=64)
    advised = int(message.partition("Set `cutoff_len: ")[2].partition("`")[0])
    _, load = prompts({1: {"text": QUESTION + LONG}})
    assert len(load(cutoff_len=advised).train) == 4
    with pytest.raises(ValueError, match=f"more than `cutoff_len: {advised - 1}`"):
        load(cutoff_len=advised - 1)


def test_a_system_prompt_stays_with_the_conversation(prompts):
    _, load = prompts(
        {i: {"system": "Be brief."} for i in range(4)}, formatting="alpaca", columns={"system": "system"}
    )
    assert messages_of(load().train[0])[0] == {"role": "system", "content": "Be brief."}


def test_a_set_of_an_earlier_version_has_no_conversations():
    with pytest.raises(ValueError, match="made by an earlier version"):
        messages_of({"input_ids": [1]})


def test_columns_that_an_entry_names(prompts):
    _, load = prompts({i: {"answer": "red"} for i in range(4)}, meta=["level"])
    assert [meta_of(row) for row in load().train] == [{"level": i} for i in range(4)]


def test_a_column_that_an_entry_names_and_no_row_has(refused):
    path, message = refused({}, meta=["lvel", "level"])
    assert f"{path}, row 0: no column lvel, which `columns` names under `meta`" in message


def test_columns_of_each_set(prompts, data):
    first, _ = prompts()
    second, load = prompts({0: {"answer": "red"}}, name="others", file="others.json")
    found = columns_by_source(load(dataset="prompts,others").train)
    assert found == {str(first): ["level"], str(second): ["level", "answer"]}


def test_a_set_that_was_tokenized_for_pairs(data, load, make_pair, prompts, tmp_path):
    data.write([make_pair(i) for i in range(3)])
    load(tokenized_path=str(tmp_path / "saved"), needs_scores=False, overlong="error")
    _, load_prompts = prompts()
    with pytest.raises(ValueError, match=r"made with other settings:(.|\n)*kind: 'pairs', now 'prompts'"):
        load_prompts(tokenized_path=str(tmp_path / "saved"))


def test_a_media_token_in_a_pair(data, load, make_pair):
    rows = [make_pair(i) for i in range(3)]
    rows[1]["rejected"] = "It is <|image_pad|>."
    path = data.write(rows)
    with pytest.raises(ValueError, match=r"row 1: the answer holds `<\|image_pad\|>`, which the model reads"):
        load()
    assert path.exists()


def test_a_token_that_is_the_placeholder_itself_is_counted_as_one():
    """LLaVA's own token for an image is `<image>`."""
    from types import SimpleNamespace

    from resonance.rows.plan import RowPlan
    from resonance.rows.validate.rules import make_row_checker

    row = {"_prompt": [{"role": "user", "content": QUESTION}], "_response": [], "_system": "", "_tools": ""}
    row |= {"_images": [], "_videos": None, "_audios": None, "_source": "a.json", "_row": 0}
    entry = SimpleNamespace(load_from="file")
    for template, token in (("llava", "<image>"), ("qwen2_vl", "<|image_pad|>")):
        settings = SimpleNamespace(template=template, media_dir=None)
        checker = make_row_checker(entry, settings, RowPlan(needs_scores=False, kind="prompts"))
        assert token in checker.media_tokens
        (found,) = checker(row)
        assert found.message == "0 images but 1 `<image>` in the prompt"
