# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Nothing of ours makes a host wait for its GPU in a step on batches that came laid out."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest
import torch

from forward.tiny import FAMILIES, Prompt, answers, for_training, make, picture
from resonance.forward.call import Forward
from resonance.forward.names import PADDING_FREE, SPEEDUPS
from resonance.forward.planner import Planner
from resonance.forward.request import Request
from resonance.forward.result import sums

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import counting

    yield counting
    for name in [name for name in sys.modules if name.startswith("benchmarks")]:
        sys.modules.pop(name)


def collated(model, on, once=True):
    """Three answers to one prompt and two to another, from our collator."""
    batch = answers(model, [Prompt([picture(model, 1)], [5, 9, 3]), Prompt([picture(model, 3)], [4, 8])])
    if not once:
        return batch
    size = 24 if "image_grid_thw" in batch else 1
    pixels = batch["pixel_values"]
    batch |= {"pixel_values": torch.cat((pixels[:size], pixels[-size:]))}
    planner = Planner()
    planner.request = Request.of([model], on, always=True)
    batch[Planner.key] = planner(batch, {"image": ([[0]] * 3 + [[1]] * 2, [size] * 2)})
    for pictures in batch[Planner.key].media.values():  # they stay where they were made
        if pictures.grids is not None:
            pictures.grids._on_host = True
    return batch


def waits(counting, model, batch, on):
    forward = Forward(on, always=True)

    def step():
        prepared = forward.prepare(batch, model, model)
        with torch.no_grad():
            reference = sums(Forward.call(model, model, prepared))
        return (sums(Forward.call(model, model, prepared)) - reference).sum()

    step()
    return counting.counted(counting.Waits(), step).places


@pytest.mark.parametrize("on", [set(SPEEDUPS), set(SPEEDUPS) - {PADDING_FREE}], ids=["packed", "mask"])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava", "internvl"])
def test_none_of_our_own(family, on, counting):
    model = for_training(make(FAMILIES[family]()), "frozen", "reentrant")
    places = waits(counting, model, collated(model, on), on)
    assert {place: count for place, count in places.items() if place.startswith("resonance")} == {}


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_blocks_of_the_tower_do_not_wait(family, counting):
    """Plain rows wait three times in each block."""
    model = for_training(make(FAMILIES[family]()), "frozen", "reentrant")
    blocks = model.model.visual.blocks
    lines, first = inspect.getsourcelines(type(blocks[0].attn).forward)

    def of_blocks(places):
        found = 0
        for place, count in places.items():
            file, _, line = place.rpartition(":")
            if file.endswith(f"modeling_{family}.py") and first <= int(line) < first + len(lines):
                found += count
        return found

    plain = waits(counting, model, collated(model, (), once=False), ())
    assert of_blocks(plain) == 2 * 3 * len(blocks)
    assert of_blocks(waits(counting, model, collated(model, SPEEDUPS), SPEEDUPS)) == 0


def test_a_batch_without_a_layout_is_waited_for(counting):
    """What this test counts with sees something."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "frozen")
    places = waits(counting, model, collated(model, SPEEDUPS, once=False), SPEEDUPS)
    assert sum(count for place, count in places.items() if place.startswith("resonance")) > 3
