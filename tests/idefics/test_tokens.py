# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tokens and pixels are those of the model's own processor and chat template."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from llamafactory.data.template import TEMPLATES

from idefics.models import KINDS, TEMPLATE, make_processor, picture

SMALL, WIDE, TALL, LARGE = picture(9, 9), picture(112, 30, 1), picture(25, 150, 2), picture(300, 200, 3)
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def says(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


CONVERSATIONS: dict[str, tuple[list[dict[str, str]], list[Any]]] = {
    "text": ([user("What is this?"), says("A zero, I think.")], []),
    "picture first": ([user("<image>What is this?"), says("A zero, I think.")], [LARGE]),
    "picture and line break": ([user("<image>\nWhat is this?"), says("A cat.")], [WIDE]),
    "picture in the middle": ([user("What is <image> this?"), says("A cat.")], [TALL]),
    "picture in a word": ([user("What<image>digit"), says("7")], [SMALL]),
    "picture last": ([user("What is this? <image>"), says("A cat.")], [SMALL]),
    "two pictures": ([user("<image><image>Compare the two images."), says("(No.)")], [WIDE, LARGE]),
    "two apart": ([user("This: <image> and <image>"), says("They do\nnot differ.")], [LARGE, TALL]),
    "system": ([SYSTEM, user("<image>What is this?"), says("A zero.")], [WIDE]),
    "turns": (
        [user("<image>What is"), says(" A cat."), user("And then?"), says("Hmm ..."), user("<image>And"), says("x")],
        [LARGE, SMALL],
    ),
    "system and turns": ([SYSTEM, user("Hi."), says("Hello."), user("What is <image>?"), says("A 7.")], [TALL]),
    "spaces and signs": ([user("  <image>  é ☃ <b>?"), says("\n\n- a\n- b")], [WIDE]),
}  # fmt: skip


def spoken(messages: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Messages as chat templates take them."""
    found = []
    for message in messages:
        texts = message["content"].split("<image>")
        parts = [{"type": "text", "text": texts[0]}] if texts[0] or len(texts) == 1 else []
        for text in texts[1:]:
            parts += [{"type": "image"}, *([{"type": "text", "text": text}] if text else [])]
        found.append({"role": message["role"], "content": parts})
    return found


def theirs(processor: Any, messages: list[dict[str, str]], images: list[Any], prompt: bool = False) -> Any:
    """What the model's own processor makes of a conversation."""
    text = processor.apply_chat_template(spoken(messages), add_generation_prompt=prompt)
    bos = processor.tokenizer.bos_token
    options = {"add_special_tokens": not text.startswith(bos), "return_tensors": "pt"}
    return processor(text=[text], images=[images] if images else None, **options)


def ours(kind: str, processor: Any, messages: list[dict[str, str]], images: list[Any]) -> list[tuple[list[int], Any]]:
    """Pairs of prompts and answers, as LlamaFactory encodes them."""
    template = TEMPLATES[TEMPLATE[kind]]
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    rest = messages[1:] if system else messages
    expanded = template.mm_plugin.process_messages(rest, images, [], [], processor)
    return template.encode_multiturn(processor.tokenizer, expanded, system)


@pytest.fixture(scope="module", params=[True, False], ids=["split", "whole"])
def splitting(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_pixels_of_whole_conversations(kind: str, splitting: bool) -> None:
    processor = make_processor(kind, do_image_splitting=splitting)
    plugin = TEMPLATES[TEMPLATE[kind]].mm_plugin
    for name, (messages, images) in CONVERSATIONS.items():
        expected = theirs(processor, messages, images)
        turns = ours(kind, processor, messages, images)
        assert [token for turn in turns for part in turn for token in part] == expected["input_ids"][0].tolist(), name
        prompt = theirs(processor, messages[:-1], images, prompt=True)["input_ids"][0].tolist()
        before = [token for turn in turns[:-1] for part in turn for token in part]
        assert before + turns[-1][0] == prompt, name
        found = plugin.get_mm_inputs(images, [], [], [len(images)], [0], [0], [[]], processor)
        assert set(found) == set(expected) - {"input_ids", "attention_mask"}, name
        for key, value in found.items():
            assert torch.equal(value, expected[key].to(value.dtype)), (name, key)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_a_batch_are_the_processors(kind: str) -> None:
    """Rows with two pictures, with none and with one; LlamaFactory's own trainers and `generate` get them so."""
    processor = make_processor(kind)
    shown = [[LARGE, SMALL], [], [TALL]]
    expected = processor(
        text=["<image>" * len(images) for images in shown], images=shown, padding=True, return_tensors="pt"
    )
    plugin = TEMPLATES[TEMPLATE[kind]].mm_plugin
    found = plugin.get_mm_inputs([LARGE, SMALL, TALL], [], [], [2, 0, 1], [0] * 3, [0] * 3, [[]] * 3, processor)
    assert all(torch.equal(value, expected[name].to(value.dtype)) for name, value in found.items())
    assert plugin.get_mm_inputs([], [], [], [0], [0], [0], [[]], processor) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_pixels_shrink_a_picture_before_the_processor_sees_it(kind: str) -> None:
    processor = make_processor(kind)
    processor.image_max_pixels = 40 * 40
    plugin = TEMPLATES[TEMPLATE[kind]].mm_plugin
    [small] = plugin._regularize_images([LARGE], image_max_pixels=40 * 40, image_min_pixels=1)["images"]
    assert small.width * small.height <= 40 * 40 < LARGE.width * LARGE.height
    message = {"role": "user", "content": "<image>What is this?"}
    limited = plugin.process_messages([message], [LARGE], [], [], processor)
    found = plugin.get_mm_inputs([LARGE], [], [], [1], [0], [0], [[]], processor)["pixel_values"]
    expected = theirs(make_processor(kind), [message], [small], prompt=True)
    assert torch.equal(found, expected["pixel_values"])
    assert limited[0]["content"].count("<image>") == expected["input_ids"].eq(processor.image_token_id).sum()


def test_videos_and_wrong_numbers_of_pictures_are_refused() -> None:
    processor, plugin = make_processor("smolvlm"), TEMPLATES["smolvlm"].mm_plugin
    with pytest.raises(ValueError, match="does not support video input"):
        plugin.process_messages([user("<video>What?")], [], ["a.mp4"], [], processor)
    with pytest.raises(ValueError, match="number of images does not match"):
        plugin.process_messages([user("What?")], [SMALL], [], [], processor)


def test_pictures_that_a_server_expands_stay_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    processor, template = make_processor("smolvlm"), TEMPLATES["smolvlm"]
    monkeypatch.setattr(template.mm_plugin, "expand_mm_tokens", False)
    messages = template.mm_plugin.process_messages([user("<image>What?")], [LARGE], [], [], processor)
    prompt, _ = template.encode_oneturn(processor.tokenizer, [*messages, says("")])
    assert processor.tokenizer.decode(prompt) == "<|im_start|>User:<image>What?<end_of_utterance>\nAssistant:"


def test_the_package_that_a_processor_wants_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = TEMPLATES["smolvlm"].mm_plugin
    monkeypatch.setattr("resonance.rows.idefics.plugins.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install num2words"):
        plugin.process_messages([user("<image>What?")], [SMALL], [], [], None)
    monkeypatch.setattr("resonance.rows.idefics.plugins.find_spec", lambda name: name)
    with pytest.raises(ValueError, match="Processor was not found"):
        plugin.process_messages([user("<image>What?")], [SMALL], [], [], None)
