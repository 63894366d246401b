# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How often pictures are encoded, when policy and reference may share them, and that a frozen tower has no graph."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from forward.conftest import both
from forward.tiny import FAMILIES, for_training, inner, make, pairs, picture
from resonance.forward import tower, vision
from resonance.forward.call import Forward
from resonance.forward.media import Encoded
from resonance.forward.names import FROZEN_TOWER, SHARED_PREFIX, SPEEDUPS, VISION_ONCE

VISION = [name for name in FAMILIES if name != "qwen2"]


class Count:
    """Calls of a model's tower, the pixels of each, and whether features had a graph."""

    def __init__(self, model):
        self.pixels, self.graphs = [], []
        tower.tower_modules(model)[0].register_forward_hook(self.hook, with_kwargs=True)

    def hook(self, module, args, kwargs, output):
        pixels = next(v for v in [*args, *kwargs.values()] if torch.is_tensor(v) and v.is_floating_point())
        self.pixels.append(len(pixels))
        self.graphs.append(output.last_hidden_state.requires_grad)


@pytest.mark.parametrize("family", VISION)
def test_once_for_policy_and_reference_under_lora(family):
    model = for_training(make(FAMILIES[family]()), "lora", "reentrant")
    batch = pairs(model, [[picture(model, 1)], [picture(model, 3)]])
    plain = both(model, model, batch, ())
    count = Count(model)
    fast = both(model, model, batch)
    assert len(count.pixels) == 1 and count.graphs == [False]
    for ours, theirs in zip(fast, plain, strict=True):
        assert (ours.values - theirs.values).abs().max() < 1e-5


def test_lora_alone_gives_the_frozen_tower_a_graph_that_no_grad_removes():
    """PEFT asks every part of the model for input gradients when checkpointing is on."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora", "reentrant")
    batch, count = pairs(model, [[picture(model, 1)]]), Count(model)
    for on in ((), (FROZEN_TOWER,)):
        Forward.call(model, model, Forward(on).prepare(batch, model, model))
    assert count.graphs == [True, False]


def test_decided_again_at_every_call():
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora", "reentrant")
    batch, count = pairs(model, [[picture(model, 1)]]), Count(model)
    for trains in (False, True, False):
        for parameter in tower.tower_parameters(model):
            parameter.requires_grad_(trains)
        Forward.call(model, model, Forward(SPEEDUPS).prepare(batch, model))
    assert count.graphs == [False, True, False]


@pytest.mark.parametrize("family", VISION)
def test_a_tower_that_trains_encodes_each_picture_once_for_both_responses(family):
    model = for_training(make(FAMILIES[family]()), "full")
    batch = pairs(model, [[picture(model, 1)], [picture(model, 3)]])
    batch["input_ids"][2, 0] = 99  # other prompts: the rows are not shared
    count = Count(model)
    for on in ((), (VISION_ONCE,), (VISION_ONCE, SHARED_PREFIX)):
        prepared = Forward(on).prepare(batch, model, copy.deepcopy(model))
        Forward.call(model, model, prepared)
    assert count.pixels[0] == 2 * count.pixels[1] == 2 * count.pixels[2] and count.graphs[1:] == [True, True]


@pytest.mark.parametrize("what", ["weights", "adapter in the tower", "a tower that trains"])
def test_not_shared_with_another_reference(what):
    """Features of one model would be wrong for the other."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "frozen")
    reference = copy.deepcopy(model)
    same = vision.SameFeatures()
    assert same(model, reference)
    if what == "weights":
        with torch.no_grad():
            tower.tower_parameters(reference)[3].add_(0.1)
    elif what == "adapter in the tower":
        names = [n for n, _ in model.named_modules() if n.endswith(("attn.qkv", "q_proj"))]
        model = reference = get_peft_model(model, LoraConfig(r=2, target_modules=names))
        for parameter in tower.tower_parameters(model):
            parameter.requires_grad_(False)  # also when nothing in the tower trains at the moment
    else:
        tower.tower_parameters(model)[0].requires_grad_(True)
    assert not same(model, reference)
    batch = pairs(model, [[picture(model, 1)]])
    for ours, theirs in zip(both(model, reference, batch), both(model, reference, batch, ()), strict=True):
        assert (ours.values - theirs.values).abs().max() < 1e-5


def test_everything_is_as_before_after_a_call():
    model = make(FAMILIES["qwen2_vl"]())
    batch = pairs(model, [[picture(model, 1)]])
    Forward.call(model, model, Forward(SPEEDUPS).prepare(batch, model, model))
    assert "get_image_features" not in vars(inner(model).model) and "forward" not in vars(model.lm_head)
    assert set(batch) == set(pairs(model, [[picture(model, 1)]]))


def test_what_others_have_set_is_used_and_stays():
    """Libraries that speed up a tower replace the method of the object, too."""
    model = make(FAMILIES["qwen2_vl"]())
    owner, seen = inner(model).model, []
    original = owner.get_image_features

    def theirs(*args, **kwargs):
        seen.append(len(args) + len(kwargs))
        return original(*args, **kwargs)

    owner.get_image_features = theirs
    Forward.call(model, model, Forward(SPEEDUPS).prepare(pairs(model, [[picture(model, 1)]]), model, model))
    assert len(seen) == 1 and owner.get_image_features is theirs


class Tower(torch.nn.Module):
    """A model that casts its pixels anew for each picture, so that one's memory may be the next one's."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def get_image_features(self, pixels):
        return pixels.sum()[None] * self.scale

    def get_input_embeddings(self):
        return None

    get_output_embeddings = get_input_embeddings

    def forward(self, pixels):
        return [float(self.get_image_features(one.to(torch.float32))) for one in pixels]


def test_pixels_at_the_address_of_earlier_ones_are_other_pixels():
    pixels, model = torch.arange(8, dtype=torch.float64)[:, None, None].expand(8, 64, 64), Tower()
    with vision.pictures(model, no_graph=True, memo={}, encoded={}):
        found = model(pixels)
    assert found == [4096.0 * i for i in range(8)]


def test_joined_features_are_in_the_order_of_the_pictures():
    """First all of one part, then all of the other: as rows, one tensor a picture, and one tensor a layer."""
    one, two = torch.arange(6.0).view(3, 2), 10 + torch.arange(4.0).view(2, 2)
    both = torch.cat((one, two))
    assert torch.equal(tower.join([one, two]), both)
    assert [len(part) for part in tower.join([[one], [two, two]])] == [3, 2, 2]

    def output(rows):
        return BaseModelOutputWithDeepstackFeatures(rows, (rows,), deepstack_features=[rows, -rows])

    joined = tower.join([output(one), output(two)])
    assert torch.equal(joined.last_hidden_state, both)
    assert [len(part) for part in joined.pooler_output] == [3, 2]
    assert all(
        torch.equal(layer, sign * both) for layer, sign in zip(joined["deepstack_features"], (1, -1), strict=True)
    )
    assert tower.join([{1, 2}, {3}]) is None


def test_one_rank_that_disagrees_is_enough(monkeypatch):
    """The others must not leave out a call of the tower for which it waits."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "frozen")
    monkeypatch.setattr(vision, "agreed", lambda answer, device: False)
    assert not vision.SameFeatures()(model, copy.deepcopy(model))


def test_features_of_another_precision_are_other_features():
    """A reference in float32 beside a policy under autocast."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "frozen")
    reference = copy.deepcopy(model)
    batch = pairs(model, [[picture(model, 1)]])
    shared, alone = (Forward(SPEEDUPS).prepare(batch, model, reference) for _ in range(2))
    assert shared.features is not None
    Forward.call(reference, reference, shared)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (Forward.call(model, model, prepared).values for prepared in (shared, alone))
    assert torch.equal(found, expected)


def test_parameters_that_ranks_hold_in_parts():
    """As under ZeRO-3: empty, with this rank's part beside them. Without any to see, nothing is known to be equal."""
    ours, theirs = ([torch.nn.Parameter(torch.empty(0))] for _ in range(2))
    assert not vision._equal(ours, theirs)
    ours[0].ds_tensor, theirs[0].ds_tensor = torch.ones(4), torch.ones(4)
    assert vision._equal(ours, theirs)
    theirs[0].ds_tensor[3] = 0.0
    assert not vision._equal(ours, theirs)


def test_a_tower_without_parameters_to_see_is_not_called_frozen(monkeypatch):
    """As under FSDP, where a flat parameter of the whole hides them; and one's own parameter of the owner counts."""
    model = for_training(make(FAMILIES["llava_next"]()), "frozen")
    assert tower.is_frozen(model)
    tower.owner_of_features(model).image_newline.requires_grad_(True)
    assert not tower.is_frozen(model)
    monkeypatch.setattr(tower, "tower_parameters", lambda model: [])
    assert not tower.is_frozen(model)


class Videos(torch.nn.Module):
    """Makes features of videos with its function for images, as Qwen3-VL does."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def get_image_features(self, pixels):
        self.seen.append(len(pixels))
        return 2 * pixels

    def get_video_features(self, pixels):
        return self.get_image_features(pixels)


def test_one_function_within_another_is_not_repeated_twice():
    model, once = Videos(), torch.arange(4.0)
    with vision.pictures(model, False, {}, {"video": Encoded([0, 0], [4], None)}):
        found = model.get_video_features(once)
    assert model.seen == [4] and torch.equal(found, 2 * torch.cat((once, once)))


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_grids_and_windows_are_read_on_the_host(family):
    """A value that is read on the device makes the host wait, three times in every block."""
    model = make(FAMILIES[family]())
    batch = pairs(model, [[picture(model, 1), picture(model, 2)], [picture(model, 3)]])
    expected = Forward.call(model, model, Forward(()).prepare(batch, model)).values
    prepared = Forward(SPEEDUPS).prepare(batch, model)
    grids, seen, ends = prepared.layout.encoded["image"].grids, [], []
    visual = model.model.visual
    visual.register_forward_pre_hook(lambda m, a, given: seen.append(given["grid_thw"] is grids), with_kwargs=True)
    for block in visual.blocks:
        block.attn.register_forward_pre_hook(lambda m, a, given: ends.append(given["cu_seqlens"]), with_kwargs=True)
    assert (Forward.call(model, model, prepared).values - expected).abs().max() < 1e-5
    assert seen == [True] and len(ends) == len(visual.blocks)
    if family == "qwen2_5_vl":  # block 1 is the one without windows
        assert torch.equal(ends[0], torch.tensor(visual.get_window_index(grids)[1]).unique_consecutive())
    assert not any(block._forward_pre_hooks for block in visual.blocks)
    model.config.vision_config._attn_implementation = "flash_attention_2"
    assert vision._reads_on_host(model) is None
