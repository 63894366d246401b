# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A picture that both responses show is processed once, and the batch is LlamaFactory's."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

from resonance.rows.pictures import reading_once


class Plugin:
    """Stands for one of LlamaFactory's multimodal plugins; remembers what it was asked to process."""

    def __init__(self, extra=None):
        self.seen, self.extra = [], extra or {}

    def _get_mm_inputs(self, images, videos, audios, processor, **kwargs):
        self.seen.append((list(images), list(videos), list(audios)))
        sizes = torch.tensor([[len(str(image)), 1] for image in images])
        return {"pixel_values": torch.arange(2.0 * len(images)).view(-1, 2), "image_sizes": sizes, **self.extra}


def test_batch_and_number_of_pictures(data, load, make_pair, tokenizer_module, monkeypatch):
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
        (["a", "b", "b", "a"], [], [], 4),  # not the same pictures block by block
        (["a"], [], [], 1),  # the picture that stands in for none
        (["a", "a"], ["v", "w"], [], 2),
        (["a", "a"], [], ["s", "s"], 2),
    ],
)
def test_what_is_halved(images, videos, audios, processed):
    plugin = Plugin()
    found = reading_once(plugin)._get_mm_inputs(images, videos, audios, SimpleNamespace())
    assert [len(seen[0]) for seen in plugin.seen] == [processed]
    assert len(found["pixel_values"]) == len(images)


def test_results_that_do_not_belong_to_single_pictures_are_made_of_all():
    plugin = Plugin(extra={"cross_attention_mask": torch.ones(1)})
    found = reading_once(plugin)._get_mm_inputs(["a", "b", "a", "b"], [], [], SimpleNamespace())
    assert len(plugin.seen[-1][0]) == 4 and found["pixel_values"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
