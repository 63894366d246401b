# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Batches that come laid out from where they were collated: one copy to the device, the same numbers."""

from __future__ import annotations

import pickle

import pytest
import torch
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader

from forward.tiny import FAMILIES, Prompt, answers, for_training, make, pairs, picture
from resonance.forward import host
from resonance.forward.bundle import Bundle
from resonance.forward.call import Forward
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX, SPEEDUPS
from resonance.forward.planner import Planner
from resonance.forward.request import Request


def test_bundle():
    given = {"a": torch.arange(6).view(2, 3), "b": torch.tensor([7, -8, 9], dtype=torch.int32)}
    given["c"] = torch.empty(0, 2, dtype=torch.int64)
    bundle = Bundle.of(given)
    assert bundle.flat.dtype == torch.int64 and bundle.flat.ndim == 1
    for name, tensor in given.items():
        assert torch.equal(bundle[name], tensor) and bundle[name].dtype == tensor.dtype
    assert "a" in bundle and "d" not in bundle and bundle.to("cpu") is bundle
    moved = bundle.to("meta")
    assert moved["b"].shape == (3,) and moved["b"].device.type == "meta"
    with pytest.raises(TypeError, match="x is torch.float32"):
        Bundle.of({"x": torch.ones(1)})


@pytest.fixture
def model():
    return for_training(make(FAMILIES["qwen2_vl"]()), "full")


def planned(model, on=SPEEDUPS):
    planner = Planner()
    planner.request = Request.of([model], on, always=False)
    return planner


def once(batch, rows, count):
    """The batch as our collator makes it, with the first `count` pictures alone."""
    lengths = batch["image_grid_thw"].prod(-1)[:count].tolist()
    return batch | {"pixel_values": batch["pixel_values"][: sum(lengths)]}, {"image": (rows, lengths)}


def within(made, tensor):
    """Whether a tensor is a view of a layout's bundle."""
    return tensor.untyped_storage().data_ptr() == made.bundle.flat.untyped_storage().data_ptr()


class Recorded(torch.Tensor):
    """Copies of a tensor to a device, and whether the host waited for them."""

    copies: list = []

    def to(self, *args, **kwargs):
        Recorded.copies.append((self.dtype, kwargs.get("non_blocking", False)))
        return super().to(*args, **kwargs)


def test_what_data_loaders_and_accelerate_do_to_it(model):
    """It goes through another process, pinned memory and to a device, all as tensors do, in one copy."""
    batch = pairs(model, [[picture(model, 1)], [picture(model, 2)]])
    batch, shown = once(batch, [[0], [1], [0], [1]], 2)
    made = pickle.loads(pickle.dumps(planned(model)(batch, shown)))
    flat = made.bundle.flat
    Recorded.copies.clear()
    made.bundle.flat = flat.as_subclass(Recorded)
    moved = send_to_device({"x": made, "scores": torch.zeros(2)}, torch.device("cpu"), non_blocking=True)
    assert Recorded.copies == [(torch.int64, True)] and isinstance(moved["x"], host.HostLayout)
    made.bundle.flat = flat
    rows = made.to("cpu").layout(batch)
    assert all(within(made, t) for t in (rows.positions, rows.targets, rows.inputs["input_ids"]))


def collate(rows):
    planner, batch, shown = rows[0]
    return batch | {Planner.key: planner(batch, shown)}


def test_laid_out_in_another_process(model):
    """The layout that a process has made is what `prepare` uses."""
    batch = answers(model, [Prompt([picture(model, 1)], [5, 9, 3]), Prompt([picture(model, 2)], [4, 8])])
    plain = Forward.call(model, model, Forward(()).prepare(batch, model)).values
    alone, shown = once(batch, [[0], [0], [0], [1], [1]], 1)
    alone["pixel_values"] = torch.cat((alone["pixel_values"], batch["pixel_values"][-16:]))
    shown = {"image": ([[0], [0], [0], [1], [1]], [*shown["image"][1], 16])}
    planner = planned(model)
    loader = DataLoader([(planner, alone, shown)], 1, collate_fn=collate, num_workers=1)
    (found,) = list(loader)
    forward = Forward(SPEEDUPS)
    prepared = forward.prepare(found, model)
    assert within(found[Planner.key], prepared.layout.inputs["input_ids"])
    assert (Forward.call(model, model, prepared).values - plain).abs().max() < 1e-5


@pytest.mark.parametrize(
    "on",
    [(), {SHARED_PREFIX}, {PADDING_FREE}, set(SPEEDUPS) - {PADDING_FREE}],
    ids=["none", "shared_prefix", "padding_free", "all but padding_free"],
)
def test_a_layout_for_other_speedups_is_made_again(model, on):
    """As after a comparison that gave one up; the pixels are there once all the same."""
    batch = pairs(model, [[picture(model, 1)], [picture(model, 2)]])
    plain = Forward.call(model, model, Forward(()).prepare(batch, model)).values
    alone, shown = once(batch, [[0], [1], [0], [1]], 2)
    planner = planned(model)
    alone[Planner.key] = planner(alone, shown)
    forward = Forward(on)
    forward.planner = planner
    prepared = forward.prepare(alone, model)
    assert (Forward.call(model, model, prepared).values - plain).abs().max() < 1e-5
    assert planner.request.on == frozenset(on)  # the next batch of this process fits
    again = alone | {Planner.key: planner(alone, shown)}
    assert within(again[Planner.key], forward.prepare(again, model).layout.targets)


def test_nothing_is_laid_out_before_it_is_known_for_whom(model):
    planner = Planner()
    assert not planner.ready
    with pytest.raises(RuntimeError, match="before it was known for whom"):
        planner(pairs(model, [[]]), None)


def test_a_comparison_does_not_change_what_batches_are_laid_out_for(model):
    planner = planned(model)
    before = planner.request
    Forward(SPEEDUPS, always=True).prepare(pairs(model, [[], []]), model)
    assert planner.request is before
