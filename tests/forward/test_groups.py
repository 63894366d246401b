# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Any number of answers to each of any number of prompts, in any order and padding, against plain rows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from forward.conftest import gradients, worst
from forward.tiny import FAMILIES, PICTURE, Prompt, answers, for_training, inner, make, picture
from resonance.forward import host, media, prompts
from resonance.forward.call import Forward, capabilities
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from resonance.forward.request import Request
from resonance.forward.result import mean_logits, sums

ALL, MASKED = set(SPEEDUPS), set(SPEEDUPS) - {PADDING_FREE}
SHAPES = {
    "1 answer": [[7], [12], [4]],
    "2 answers": [[7, 11], [12, 3]],
    "5 answers": [[3, 9, 2, 14, 6], [8, 1, 5, 4, 10]],
    "8 answers": [[3, 9, 2, 14, 6, 1, 7, 5]],
    "unequal groups": [[6, 2, 9], [5], [4, 11, 3, 8, 1], [10, 7]],
}


def ragged(model, family, shape, **options):
    def some(*seeds):
        return [picture(model, seed) for seed in seeds] if family != "qwen2" else []

    shown = [some(1), some(2, 3), [], some(4)] if len(SHAPES[shape]) > 1 else [some(1, 2)]
    given = [Prompt(shown[i], lengths) for i, lengths in enumerate(SHAPES[shape])]
    return answers(model, given, **options)


def step(model, batch, on, always=True):
    """The layout, log-probabilities, and gradients with a weight of its own for each row."""
    prepared = Forward(on, always=always).prepare(batch, inner(model), inner(model))
    tokens = Forward.call(model, model, prepared)
    weights = torch.linspace(1.0, -1.0, len(batch["labels"])) + 0.3
    (sums(tokens) * weights).sum().backward()
    return prepared, tokens, gradients(model)


def compare(model, batch, on=SPEEDUPS, always=True):
    _, expected, right = step(model, batch, (), always)
    prepared, found, gradient = step(model, batch, on, always)
    assert torch.equal(found.mask, expected.mask)
    assert (found.values - expected.values).abs().max() < 1e-5
    rows = len(found.mask)
    assert (mean_logits(found, rows) - mean_logits(expected, rows)).abs().max() < 1e-4
    error, where = worst(gradient, right)
    assert error < 1e-5, where
    return prepared


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_number_of_answers(family, mode):
    model = for_training(make(FAMILIES[family]()), mode, "reentrant")
    for number, shape in enumerate(SHAPES):
        batch = ragged(model, family, shape, order=number)
        packed = compare(model, batch)
        masked = compare(model, batch, MASKED)
        if shape == "1 answer":
            assert packed.reasons[SHARED_PREFIX] == "the responses answer different prompts"
            assert masked.layout.segments is None
        else:
            assert SHARED_PREFIX not in packed.reasons and masked.layout.segments.pieces is None
            assert len(masked.layout.inputs["input_ids"]) == len(SHAPES[shape])


@pytest.mark.parametrize(
    "on", [SPEEDUPS, set(SPEEDUPS) - {PADDING_FREE}, {PADDING_FREE}], ids=["all", "mask", "packed"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_the_left(family, on):
    """Prompts of one group then begin in different columns."""
    model = for_training(make(FAMILIES[family]()), "lora")
    batch = ragged(model, family, "unequal groups", order=3, left=True)
    starts = batch["attention_mask"].argmax(1)
    assert len(set(starts.tolist())) > 4
    compare(model, batch, on)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("family", ["qwen2_vl", "gemma3", "qwen2"])
def test_tokens_within_a_response_that_carry_no_loss(family, left):
    """They are read: what a tool said is in the context of what follows, and the row goes on to its last token."""
    model = for_training(make(FAMILIES[family]()), "full")
    batch = ragged(model, family, "unequal groups", order=1, left=left)
    for row, labels in enumerate(batch["labels"]):
        learned = (labels != -100).nonzero().squeeze(1)
        labels[learned[2 : 2 + row % 4]] = -100
        if row % 3 == 0 and len(learned) > 5:
            labels[learned[-1]] = -100
    prepared = compare(model, batch)
    compare(model, batch, MASKED)
    assert int((batch["labels"] != -100).sum()) == len(prepared.layout.owners)
    # an answer whose continuation has another label is another answer
    changed = {name: value.clone() for name, value in batch.items()}
    row = int((batch["labels"] != -100).sum(1).argmax())
    place = int((changed["labels"][row] != -100).nonzero()[-1])
    changed["input_ids"][row, place] = changed["labels"][row, place] = 77
    assert not torch.equal(step(model, changed, SPEEDUPS)[1].values, step(model, batch, SPEEDUPS)[1].values)


@pytest.mark.parametrize("family", ["qwen2_vl", "llava_next", "qwen2"])
def test_equal_answers_are_read_once(family):
    """As in six pairs of four answers."""
    model = for_training(make(FAMILIES[family]()), "lora")
    some = [picture(model, 1)] if family != "qwen2" else []
    pairs = [(a, b) for a in range(4) for b in range(4) if a < b]
    seeds = [a for a, _ in pairs] + [b for _, b in pairs]
    lengths = [[5, 9, 3, 12][seed] for seed in seeds]
    batch = answers(model, [Prompt(some, lengths, seeds), Prompt([], [4, 6])], order=7)
    prepared = compare(model, batch)
    rows = prepared.layout
    assert len(rows.targets) == sum([5, 9, 3, 12]) + 10 and len(rows.owners) == sum(lengths) + 10
    assert rows.segments.pieces.ends[0] == [0, *(rows.segments.pieces.ends[0][1:])]
    assert sorted(len(ends) for ends in rows.segments.pieces.ends) == [4, 6]
    compare(model, batch, MASKED)


def six_pairs(model, family, others):
    """All pairs of four answers to a prompt, and `others` of prompts of their own: chosen rows, then rejected."""
    some = [[picture(model, seed)] if family != "qwen2" else [] for seed in (1, 2, 3)]
    six = list(combinations(range(4), 2))
    seeds = [a for a, _ in six] + [b for _, b in six]
    given = [Prompt(some[0], [[5, 9, 3, 12][seed] for seed in seeds], seeds)]
    given += [Prompt(pictures, [4, 8]) for pictures in (some[1], [], some[2])[:others]]
    order = [[*range(6 * side, 6 * side + 6), *range(12 + side, 12 + 2 * others, 2)] for side in (0, 1)]
    return answers(model, given, order=order[0] + order[1])


@pytest.mark.parametrize("others", [0, 3], ids=["of one prompt", "and other prompts"])
@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("family", ["qwen2_vl", "llava_next", "qwen2"])
def test_six_pairs_have_llamafactorys_loss_and_gradient(family, mode, others, llamafactory):
    model = for_training(make(FAMILIES[family]()), mode, "reentrant")
    batch = six_pairs(model, family, others)
    batch.pop("rope_deltas", None)

    def loss(logps):
        chosen, rejected = logps.chunk(2)
        return -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).mean()

    theirs = loss(llamafactory(model, batch).sums)
    theirs.backward()
    expected = gradients(model)
    prepared = Forward(SPEEDUPS, always=True).prepare(batch, model)
    ours = loss(sums(Forward.call(model, model, prepared)))
    ours.backward()
    assert abs((ours - theirs).item()) < 1e-5 and worst(gradients(model), expected)[0] < 1e-5
    assert len(prepared.layout.targets) == 29 + 12 * others  # each answer once


def test_equal_answers_to_different_prompts_are_read_for_each():
    model = for_training(make(FAMILIES["qwen2"]()), "full")
    batch = answers(model, [Prompt([], [6, 6], [0, 0]), Prompt([], [6, 5])])
    batch["input_ids"][2, 5:11] = batch["labels"][2, 5:11] = batch["input_ids"][0, 3:9]
    rows = compare(model, batch).layout
    assert len(rows.targets) == 6 + 6 + 5


@pytest.mark.parametrize("family", ["qwen2_vl", "llava", "llava_next", "internvl", "gemma3"])
def test_the_same_question_about_another_picture_is_another_prompt(family):
    model = for_training(make(FAMILIES[family]()), "full")
    batch = answers(model, [Prompt([picture(model, 1)], [5, 7, 4, 6])])
    assert len(compare(model, batch, MASKED).layout.inputs["input_ids"]) == 1
    size = len(batch["pixel_values"]) // 4
    batch["pixel_values"][2 * size : 3 * size] += 0.5
    assert len(compare(model, batch, MASKED).layout.inputs["input_ids"]) == 2
    assert len(compare(model, batch).layout.inputs["pixel_values"]) == 2 * size


def test_pictures_in_a_response_keep_a_row_by_itself():
    """A tool may return one."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "full")
    one = picture(model, 1)
    batch = answers(model, [Prompt([one], [9, 8]), Prompt([one], [9, 8])])
    changed = {name: value.clone() for name, value in batch.items()}
    first = int((batch["labels"][0] != -100).int().argmax())
    changed["input_ids"][0, first + 2 : first + 2 + one.tokens] = PICTURE
    changed["labels"][0, first + 2 : first + 2 + one.tokens] = -100
    pixels, grid = one.inputs["pixel_values"], one.inputs["image_grid_thw"]
    changed["pixel_values"] = torch.cat((pixels, pixels + 1, *[pixels] * 3))
    changed["image_grid_thw"] = torch.cat([grid] * 5)
    prepared = compare(model, changed)
    assert sorted(len(ends) for ends in prepared.layout.segments.pieces.ends) == [3, 3, 4]


def found_media(model, batch):
    tokens = Request.of([model], SPEEDUPS, False).tokens
    ids = batch["input_ids"].numpy()
    return media.read_media(batch, {kind: np.isin(ids, sorted(of)) for kind, of in tokens})


def test_pictures_of_rows_by_hand():
    model = make(FAMILIES["qwen2_vl"]())
    a, b, c = picture(model, 0), picture(model, 1), picture(model, 2)
    found = found_media(model, answers(model, [Prompt([a, b], [3, 4]), Prompt([], [2]), Prompt([c], [5, 6])]))
    assert found["image"].rows == [[0, 1], [0, 1], [], [4], [4]]
    assert found["image"].lengths == [16, 24, 16, 24, 16, 16] and found["image"].repeated
    video = answers(model, [Prompt([picture(model, 1, video=True), a], [3]), Prompt([b], [2])])
    assert {kind: of.rows for kind, of in found_media(model, video).items()} == {
        "image": [[0], [1]],
        "video": [[0], []],
    }


def test_pictures_that_do_not_fit_the_tokens_are_nobodys():
    model = make(FAMILIES["llava"]())
    one = picture(model, 1)
    batch = answers(model, [Prompt([one], [3, 4])])
    batch["input_ids"][0, -1] = PICTURE  # a third stretch, of another length
    assert found_media(model, batch) is None
    prepared = Forward(SPEEDUPS).prepare(batch, model)
    assert prepared.reasons[SHARED_PREFIX] == "it cannot be told which row shows which pictures"
    assert prepared.layout.segments is None and prepared.layout.inputs["pixel_values"] is batch["pixel_values"]


def test_each_distinct_picture_is_encoded_once_in_plain_rows():
    model = for_training(make(FAMILIES["qwen3_vl"]()), "full")  # whose features are one tensor a layer, too
    a, b = picture(model, 0), picture(model, 1)
    batch = answers(model, [Prompt([a, b], [3, 4]), Prompt([b], [5]), Prompt([b, a], [2])])
    rows = compare(model, batch, {VISION_ONCE}).layout
    assert rows.segments is None
    # rows that show other pictures are not looked into, so `b` is there three times
    assert rows.encoded["image"].order == [0, 1, 0, 1, 2, 3, 4] and len(rows.inputs["image_grid_thw"]) == 5


@pytest.mark.parametrize("on", [SPEEDUPS, (), {VISION_ONCE}, {SHARED_PREFIX}], ids=["all", "plain", "once", "shared"])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl", "llava", "llava_next", "internvl"])
def test_pictures_that_the_batch_holds_once(family, on):
    """As our collator leaves them: any row may show any of them."""
    model = for_training(make(FAMILIES[family]()), "full")
    shown = [[0, 1], [0, 1], [1], [1, 0], [1]]
    some = [picture(model, 0), picture(model, 1)]
    given = [Prompt([some[0], some[1]], [3, 4]), Prompt([some[1]], [5]), Prompt([some[1], some[0]], [2])]
    batch = answers(model, [*given, Prompt([some[1]], [6])])
    expected = step(model, batch, ())
    once = dict(batch)
    pixels = [one.inputs["pixel_values"] for one in some]
    if family == "llava_next":
        pixels[1] = torch.nn.functional.pad(pixels[1], (0, 0, 0, 0, 0, 0, 0, 5 - pixels[1].shape[1]))
    once["pixel_values"] = torch.cat(pixels)
    lengths = [len(part) for part in pixels]
    known = {"image": media.Media.of_occurrences(shown, lengths, batch.get("image_grid_thw"))}
    wanted = Request.of([model], frozenset(on), True)
    once[host.KEY] = host.lay_out(once, wanted, known)
    _, found, gradient = step(model, once, on)
    assert (found.values - expected[1].values).abs().max() < 1e-5
    assert worst(gradient, expected[2])[0] < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_is_cheapest_is_exact(family, monkeypatch):
    """Each way that the choice may take, forced."""
    model = for_training(make(FAMILIES[family]()), "lora", "reentrant")
    batch = ragged(model, family, "unequal groups", order=2)
    whole = PADDING_FREE in capabilities(inner(model))
    for way in (host.cost.ROWS, host.cost.SHARED, host.cost.SPLIT, host.cost.PACKED):
        monkeypatch.setattr(host.cost, "seconds", lambda this, *_, way=way: float(this != way))
        prepared = compare(model, batch, always=False)
        rows = prepared.layout
        if way == host.cost.ROWS:
            assert rows.segments is None and "too short" in prepared.reasons[SHARED_PREFIX]
        elif way == host.cost.SHARED or not whole:
            packed = len(rows.inputs["input_ids"]) == 1
            assert packed == (way == host.cost.PACKED and not whole)
            assert (rows.segments.pieces is None) == (way == host.cost.SHARED)


def test_parts_of_rows_by_hand():
    ids = np.array([[2, 2, 5, 6, 21, 22, 23, 2], [5, 6, 31, 2, 2, 2, 2, 2]])
    attended = (ids != 2).astype(int)
    labels = np.where(ids > 20, ids, -100)
    labels[0, 5] = -100
    rows = prompts.read_rows(ids, attended, labels, np.zeros_like(ids, dtype=bool))
    assert [row[:3] for row in rows] == [(2, 4, 7), (0, 2, 3)]
    groups = prompts.group_rows(rows, ids[None], labels, [(), ()])
    assert groups == [[[0], [1]]]
    assert prompts.group_rows(rows, ids[None], labels, ["a", "b"]) == [[[0]], [[1]]]


def refused(match, **changes):
    ids = np.array([[5, 6, 21, 22, 2, 2]])
    given = {"ids": ids, "attended": (ids != 2).astype(int), "labels": np.where(ids > 20, ids, -100)}
    given["media"] = np.zeros(ids.shape, dtype=bool)
    for name, change in changes.items():
        change(given[name])
    with pytest.raises(prompts.CannotShareError, match=match):
        prompts.read_rows(**given)


def put(place, value):
    return lambda values: values.__setitem__((0, place), value)


def test_rows_of_other_kinds_are_refused():
    refused("packed already", attended=put(1, 2))
    refused("stand among others", attended=put(1, 0))
    refused("a label is on a token", labels=put(4, 7))
    refused("a row has no token", attended=lambda values: values.fill(0))
    refused("follows a token that nobody", attended=lambda values: values.__setitem__((0, slice(0, 2)), 0))
    refused("padding contains picture tokens", media=lambda values: values.__setitem__((0, [0, 5]), True))
