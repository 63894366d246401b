# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tokens counted from the sizes of pictures are those of the real processor."""

from __future__ import annotations

import random

import pytest
import transformers
from llamafactory.data.template import TEMPLATES
from PIL import Image, ImageFile

from idefics.models import DIFFERENT, OTHERS, TEMPLATE, make_processor
from resonance.rows.vision.counter import make_counter

AWKWARD = ((1, 1), (1, 500), (500, 1), (27, 29), (28, 28), (112, 112), (113, 112), (112, 56), (57, 112), (700, 3))
V5 = int(transformers.__version__.partition(".")[0]) >= 5


@pytest.mark.parametrize("splitting", [True, False])
@pytest.mark.parametrize("backend", ["", "Pil" if V5 else "Fast"])
@pytest.mark.parametrize("kind", DIFFERENT)
def test_every_size(kind: str, backend: str, splitting: bool) -> None:
    processor = make_processor(kind, backend, do_image_splitting=splitting)
    plugin = TEMPLATES[TEMPLATE[kind]].mm_plugin
    counter = make_counter(plugin, processor)
    assert counter is not None
    chance = random.Random(kind)
    sizes = [*AWKWARD, *((round(300 ** chance.random()), round(300 ** chance.random())) for _ in range(8))]
    for size in sizes:
        for images in ([Image.new("RGB", size)], [Image.new("RGB", size), Image.new("RGB", size[::-1])]):
            messages = [{"role": "user", "content": "<image>" * len(images) + "What is this?"}]
            expected = plugin.process_messages(messages, images, [], [], processor)
            assert counter.process_messages(messages, images, [], []) == expected, size
        text = plugin.process_messages([{"role": "user", "content": "<image>"}], images[:1], [], [], processor)
        ids = processor.tokenizer(text[0]["content"], add_special_tokens=False)["input_ids"]
        assert counter.image_tokens(size) == len(ids)


def test_a_longest_edge_between_tiles_is_left_to_the_processor() -> None:
    """Where the library's own count of 100 pixels in tiles of 28 differs from what it makes."""
    processor = make_processor("smolvlm", **OTHERS | {"size": {"longest_edge": 100}})
    plugin = TEMPLATES["smolvlm"].mm_plugin
    counter = make_counter(plugin, processor)
    assert counter is not None
    for size in ((100, 84), (84, 100), (90, 75), (50, 90)):
        messages = [{"role": "user", "content": "<image>"}]
        images = [Image.new("RGB", size)]
        expected = plugin.process_messages(messages, images, [], [], processor)
        assert counter.process_messages(messages, images, [], []) == expected


@pytest.mark.parametrize("kind", DIFFERENT)
def test_nothing_is_decoded(kind: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    processor = make_processor(kind)
    counter = make_counter(TEMPLATES[TEMPLATE[kind]].mm_plugin, processor)
    assert counter is not None

    def refuse(image: ImageFile.ImageFile) -> None:
        raise AssertionError(f"{image} is decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    messages = [{"role": "user", "content": "<image>"}]
    [message] = counter.process_messages(messages, [str(tmp_path / "a.png")], [], [])
    assert message["content"].count("<image>") >= 4
