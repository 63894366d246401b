# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Each distinct image of a batch is processed once, and the batch is LlamaFactory's, or says what it shows."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from resonance.rows.collate import shown_by_row
from resonance.rows.images import SHOWN, Shown, reading_once


def never():
    return False


class Plugin:
    """Stands for one of LlamaFactory's multimodal plugins; remembers what it was asked to process."""

    def __init__(self, extra=None):
        self.seen, self.extra = [], extra or {}

    def _get_mm_inputs(self, images, videos, audios, processor, **kwargs):
        self.seen.append((list(images), list(videos), list(audios)))
        sizes = torch.tensor([[len(str(image)), 1] for image in images])
        found = {"pixel_values": torch.tensor([[float(hash(image) % 1000), 1.0] for image in images])}
        found |= {"pixel_values_videos": torch.arange(float(len(videos)))[:, None]} if videos else {}
        return found | {"image_sizes": sizes, **self.extra}


def test_batch_and_number_of_images(data, load, make_pair, tokenizer_module, monkeypatch):
    from llamafactory.data.collator import PairwiseDataCollatorWithPadding

    from resonance.rows.collate import PreferenceCollator

    data.write([make_pair(i) for i in range(3)])
    loaded = load()
    processor = tokenizer_module["processor"].image_processor
    seen, original = [], type(processor).__call__

    def counting(self, images, *args, **kwargs):
        seen.append(len(images))
        return original(self, images, *args, **kwargs)

    monkeypatch.setattr(type(processor), "__call__", counting)
    settings = {"template": loaded.template, "pad_to_multiple_of": 8, **tokenizer_module}
    theirs = PairwiseDataCollatorWithPadding(**settings)(copy.deepcopy(list(loaded.train)))
    ours = PreferenceCollator(**settings)(list(loaded.train))
    assert seen == [6, 3]
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def test_tokenization_keeps_the_plugin_it_had(load, data, make_pair, tokenizer_module):
    from resonance.rows.collate import PreferenceCollator

    data.write([make_pair(0)])
    template = load().template
    before = template.mm_plugin
    PreferenceCollator(template=template, **tokenizer_module)
    assert template.mm_plugin is before and "_get_mm_inputs" not in vars(before)


@pytest.mark.parametrize(
    ("images", "videos", "audios", "processed"),
    [
        (["a", "b", "a", "b"], [], [], 2),
        (["a", "b", "b", "a"], [], [], 2),
        (["a", "b", "c", "b"], [], [], 3),
        (["a"], [], [], 1),  # the image that stands in for none
        (["a", "a"], ["v", "w"], [], 1),
        (["a", "a"], [], ["s", "s"], 2),
    ],
)
def test_what_is_processed_once(images, videos, audios, processed):
    plugin = Plugin()
    found = reading_once(plugin, never)._get_mm_inputs(images, videos, audios, SimpleNamespace())
    assert [len(seen[0]) for seen in plugin.seen] == [processed]
    expected = Plugin()._get_mm_inputs(images, videos, audios, SimpleNamespace())
    assert set(found) == set(expected) and all(torch.equal(found[name], value) for name, value in expected.items())


def decoded(colour, size=(3, 2)):
    return Image.new("RGB", size, colour)


def test_decoded_images_are_known_by_what_they_show():
    """A set with embedded images decodes one for each row anew, as `overlong: shrink_image` does."""

    def order(images):
        plugin = SimpleNamespace(_get_mm_inputs=lambda some, *_: {"pixel_values": torch.zeros(len(some), 1)})
        return reading_once(plugin, lambda: True)._get_mm_inputs(images, [], [], None)[SHOWN]["image"].order

    images = [decoded("red"), decoded("blue"), decoded("red"), decoded("red", (2, 3)), decoded("red").convert("L")]
    assert order(images * 2) == [0, 1, 0, 2, 3] * 2
    other_palette = [decoded("red").convert("P", palette=Image.Palette.ADAPTIVE) for _ in range(2)]
    other_palette[1].putpalette([0, 0, 255] * 256)
    assert other_palette[0].tobytes() == other_palette[1].tobytes()
    assert order(other_palette) == [0, 1]


def test_pixels_that_stay_there_once():
    plugin = Plugin()
    found = reading_once(plugin, lambda: True)._get_mm_inputs(["a", "b", "b", "a"], ["v"], [], SimpleNamespace())
    assert len(found["pixel_values"]) == 2 and len(found["image_sizes"]) == 4
    assert found[SHOWN] == {"image": Shown([0, 1, 1, 0], [1, 1]), "video": Shown([0], [1])}
    assert shown_by_row(found[SHOWN], {"image": [2, 0, 1, 1], "video": [0, 0, 0, 1]}) == {
        "image": ([[0, 1], [], [1], [0]], [1, 1]),
        "video": ([[], [], [], [0]], [1]),
    }


def test_the_image_that_stands_in_for_none_is_in_the_first_row():
    shown = {"image": Shown([0], [16])}
    assert shown_by_row(shown, {"image": [0, 0], "video": [0, 0]}) == {"image": ([[0], []], [16])}


@pytest.mark.parametrize(
    "extra, lengths",
    [
        ({"image_grid_thw": torch.tensor([[1, 2, 2], [1, 1, 2]])}, [4, 2]),
        ({"image_num_patches": [1, 5]}, [1, 5]),
    ],
    ids=["patches", "tiles"],
)
def test_images_of_several_rows_of_pixels(extra, lengths):
    given = {"pixel_values": torch.arange(6.0)[:, None], **extra}
    plugin = SimpleNamespace(_get_mm_inputs=lambda images, *_: given)
    found = reading_once(plugin, never)._get_mm_inputs(["a", "b", "b"], [], [], None)
    first, second = torch.arange(6.0).split(lengths)
    assert found["pixel_values"][:, 0].tolist() == torch.cat((first, second, second)).tolist()
    name = next(iter(extra))
    assert [list(map(int, row)) if name.endswith("thw") else row for row in found[name]] == [
        *(list(map(int, row)) if name.endswith("thw") else row for row in extra[name]),
        list(map(int, extra[name][1])) if name.endswith("thw") else extra[name][1],
    ]
    kept = reading_once(plugin, lambda: True)._get_mm_inputs(["a", "b", "b"], [], [], None)
    assert kept[SHOWN]["image"] == Shown([0, 1, 1], lengths) and len(kept["pixel_values"]) == 6


@pytest.mark.parametrize(
    "one, other, same",
    [
        ({"bytes": b"x", "path": None}, {"bytes": b"x", "path": "y"}, True),
        ({"bytes": None, "path": "a.png"}, "a.png", True),
        (Path("a.png"), "a.png", True),
        ({"bytes": b"x"}, {"bytes": b"y"}, False),
        ([1], [1], False),  # objects that are not known to be equal are read each
    ],
)
def test_which_images_are_equal(one, other, same):
    seen = []
    plugin = SimpleNamespace(_get_mm_inputs=lambda images, *_: seen.append(images) or {})
    reading_once(plugin, lambda: True)._get_mm_inputs([one, other], [], [], None)
    assert len(seen[0]) == (1 if same else 2)


def test_results_that_do_not_belong_to_single_images_are_made_of_all():
    plugin = Plugin(extra={"cross_attention_mask": torch.ones(1)})
    found = reading_once(plugin, never)._get_mm_inputs(["a", "b", "a", "b"], [], [], SimpleNamespace())
    assert len(plugin.seen[-1][0]) == 4 and len(found["pixel_values"]) == 4 and SHOWN not in found
