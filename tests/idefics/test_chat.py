# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's chat and its API answer as the model's own `generate` does."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
import torch
from llamafactory.chat import ChatModel

from idefics.models import TEMPLATE, make_processor, picture, write_model
from idefics.test_tokens import SYSTEM, says, theirs, user

PICTURES = [picture(300, 200, 3), picture(25, 150, 2)]
LIMITS = {"image_max_pixels": 4096 * 4096, "image_min_pixels": 1}


@pytest.fixture(scope="module", params=["idefics2", "smolvlm"])
def chat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ChatModel]:
    folder = write_model(request.param, tmp_path_factory.mktemp("model"))
    keys = {"model_name_or_path": str(folder), "template": TEMPLATE[request.param], "infer_dtype": "float32"}
    return request.param, ChatModel(keys | LIMITS | {"do_sample": False, "max_new_tokens": 8})


@pytest.mark.parametrize(
    ("messages", "images"),
    [
        ([user("<image>What is this?")], PICTURES[:1]),
        ([user("Compare <image> and <image>")], PICTURES),
        ([user("<image>Well?"), says("A zero."), user("And then?")], PICTURES[1:]),
        ([SYSTEM, user("Hi.")], []),
    ],
    ids=["picture", "two pictures", "turns", "text"],
)
def test_answers_as_its_own_generate(chat: Any, messages: list[dict[str, str]], images: list[Any]) -> None:
    kind, served = chat
    engine = served.engine
    processor = make_processor(kind)
    given = theirs(processor, messages, images, prompt=True)
    stops = [processor.tokenizer.eos_token_id, processor.tokenizer.convert_tokens_to_ids("<end_of_utterance>")]
    with torch.no_grad():
        made = engine.model.generate(**given, do_sample=False, max_new_tokens=8, eos_token_id=stops, pad_token_id=0)
    expected = processor.tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    rest = [dict(message) for message in (messages[1:] if system else messages)]
    [answer] = served.chat(rest, system=system, images=images or None, max_new_tokens=8)
    assert answer.prompt_length == given["input_ids"].shape[1]
    assert answer.response_text == expected != ""


def test_several_answers_to_several_pictures(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them reads all pictures in their order."""
    served = chat[1]
    monkeypatch.setattr("llamafactory.chat.hf_engine.GenerationConfig", _greedy)
    messages = [user("Compare <image> and <image>")]
    one = served.chat([dict(messages[0])], images=PICTURES, max_new_tokens=8)
    three = served.chat([dict(messages[0])], images=PICTURES, max_new_tokens=8, num_return_sequences=3)
    assert [answer.response_text for answer in three] == [one[0].response_text] * 3


def _greedy(**settings: Any) -> Any:
    """Always the likeliest token, so that several answers can be compared with one."""
    from transformers import GenerationConfig

    count = settings.pop("num_return_sequences")
    settings |= {"do_sample": True, "temperature": 1e-6, "top_k": 1, "num_return_sequences": count}
    return GenerationConfig(**settings)


def test_the_api_answers_to_a_picture(chat: Any) -> None:
    from fastapi.testclient import TestClient
    from llamafactory.api.app import create_app

    stream = io.BytesIO()
    PICTURES[0].save(stream, format="PNG")
    address = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": "What is this?"}]
    body = {"model": "any", "messages": [{"role": "user", "content": content}], "max_tokens": 8}
    response = TestClient(create_app(chat[1])).post("/v1/chat/completions", json=body | {"do_sample": False})
    assert response.status_code == 200, response.text
    [expected] = chat[1].chat([user("<image>What is this?")], images=PICTURES[:1], max_new_tokens=8)
    assert response.json()["choices"][0]["message"]["content"] == expected.response_text
