# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A tokenized prompt as a conversation for a chat server: texts, and the images as the model sees them here."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from llamafactory.data.mm_plugin import get_mm_plugin
from PIL import Image

from resonance.rows.chat import ChatWriter

PROCESSOR = SimpleNamespace(image_max_pixels=56 * 56, image_min_pixels=28 * 28)


def writer(system="You help."):
    plugin = get_mm_plugin("qwen2_vl", image_token="<|image_pad|>", video_token="<|video_pad|>")
    return ChatWriter(SimpleNamespace(mm_plugin=plugin, default_system=system), PROCESSOR)


def row(text, images=(), **more):
    messages = more.pop("messages", [{"role": "user", "content": text}])
    return {"_messages": json.dumps(messages), "images": list(images), "_source": "a.json", "_row": 3, **more}


@pytest.fixture
def picture(tmp_path):
    """Half transparent, and larger than the recipe allows."""
    noise = np.random.default_rng(0).integers(0, 255, (100, 120, 4), dtype=np.uint8)
    Image.fromarray(noise, "RGBA").save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def test_texts_and_images_in_their_order(picture):
    found = writer()(row("First <image> then <image>?", [picture, picture]))
    assert found[0] == {"role": "system", "content": "You help."}
    kinds = [part["type"] if part["type"] == "image" else part["text"] for part in found[1]["content"]]
    assert kinds == ["First ", "image", " then ", "image", "?"]


def test_images_are_those_of_the_collator(picture):
    (part, _) = writer()(row("<image>What is it?", [picture]))[1]["content"]
    plugin = writer().template.mm_plugin
    (expected,) = plugin._regularize_images([picture], image_max_pixels=56 * 56, image_min_pixels=28 * 28)["images"]
    assert part["image"].mode == "RGB" and part["image"].tobytes() == expected.tobytes()
    assert part["image"].width * part["image"].height <= 56 * 56


def test_an_image_that_was_made_smaller_for_its_tokens(picture):
    (part, _) = writer()(row("<image>?", [picture], _image_sizes="[[28, 56]]"))[1]["content"]
    assert part["image"].size == (28, 56)


def test_a_system_message_of_the_row_and_none_at_all():
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "Hello"}]
    assert writer()(row("", messages=own)) == own
    assert writer("")(row("Hello")) == own[1:]


def test_what_is_not_sent(picture):
    with pytest.raises(ValueError, match="a.json row 3: videos are not sent.*messages of observation") as error:
        asked = [{"role": "user", "content": "a"}, {"role": "observation", "content": "b"}]
        writer()(row("", messages=asked, videos=["a.mp4"]))
    assert "rollout_backend: local" in str(error.value)
    with pytest.raises(ValueError, match="a.json row 3: an image cannot be sent"):
        writer()(row("<image>", ["nowhere.png"]))
