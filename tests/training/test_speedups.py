# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows that speed-ups are compared on, and the line that says which are on and what they are expected to save."""

from __future__ import annotations

from types import SimpleNamespace

import datasets
import pytest
import torch

from forward.tiny import FAMILIES, make, pairs
from resonance.forward.call import Forward
from resonance.forward.names import RESPONSE_HEAD, SHARED_PREFIX
from resonance.forward.selftest import Verdict
from resonance.training.speedups import Batches, saving, with_pictures


@pytest.fixture
def prepared():
    """One pair of text; its second row has other tokens than its first."""
    model = make(FAMILIES["qwen2"]())
    return Forward([RESPONSE_HEAD, SHARED_PREFIX]).prepare(pairs(model, [[]], [8], [8]), model)


def test_the_saving_is_said_with_what_was_counted(prepared):
    found = saving(Verdict(prepared.on, logps=0.0, gradient=0.0, saving=2.7561), prepared, "first batch")
    assert found.startswith(
        "expected saving: 2.76 times fewer FLOPs (counted: matrix products of forward and backward"
    )
    assert f"a pass become {prepared.layout.inputs['input_ids'].numel()}, the head sees 16 of them" in found


def test_a_saving_of_the_forward_alone_is_said_to_be_one(prepared):
    assert "matrix products of forward, without" in saving(
        Verdict(prepared.on, logps=0.0, saving=2.0), prepared, "first batch"
    )


def test_what_was_not_counted_is_not_said(prepared):
    assert "saving" not in saving(Verdict(prepared.on), prepared, "first batch")


PICTURE = 10
POLICY = SimpleNamespace(config=SimpleNamespace(image_token_id=PICTURE))


def collate(rows):
    """Two rows a pair, with the number of the pair for a token."""
    numbers = torch.tensor([[row["number"], 2] for row in rows] * 2)
    pixels = torch.zeros(sum(len(row["images"] or []) for row in rows), 3)
    other = {"scores": torch.zeros(len(rows)), "pixel_values": pixels}
    return {"input_ids": numbers, "attention_mask": torch.ones_like(numbers), **other}


def batches_of(rows):
    return Batches(collate, to_device=lambda inputs: inputs, rows=rows)


def text(pairs, fake=False):
    """A batch of text; `fake`: with the picture that LlamaFactory puts there, to which nothing attends."""
    ids = torch.tensor([[4, 5, PICTURE if fake else 0]] * 2 * pairs)
    return {"input_ids": ids, "attention_mask": (torch.arange(3) < 2).long().expand_as(ids)}


def a_set(pictures):
    return datasets.Dataset.from_dict({"number": [*range(100, 100 + len(pictures))], "images": pictures})


@pytest.mark.parametrize(
    "pictures, pairs, taken",
    [
        ([None, None, ["a"], None, ["b"]], 1, [102]),
        ([[], [], ["a"], [], ["b"]], 2, [102, 103]),
        ([[], [], [], ["a"]], 3, [101, 102, 103]),
        ([[], ["a"]], 3, [100, 101]),
    ],
    ids=["no list", "empty lists", "the last row", "fewer rows than a batch"],
)
@pytest.mark.parametrize("fake", [False, True])
def test_a_batch_of_text_is_not_what_pictures_are_compared_on(pictures, pairs, taken, fake):
    found = with_pictures(text(pairs, fake), batches_of(a_set(pictures)), POLICY)
    assert found["input_ids"][:, 0].tolist() == taken * 2
    assert set(found) == {"input_ids", "attention_mask", "pixel_values"}  # no scores, which the model does not read


@pytest.mark.parametrize(
    "rows",
    [a_set([[], []]), a_set([["a"]]).to_iterable_dataset(), a_set([["a"]]).remove_columns("images"), None],
    ids=["no pictures", "a stream", "no column", "no set"],
)
def test_a_batch_of_text_stays_where_there_is_no_other(rows):
    batch = text(1)
    assert with_pictures(batch, batches_of(rows), POLICY) is batch


def test_a_batch_with_a_picture_stays():
    batch = text(2) | {"input_ids": torch.tensor([[4, 5, 0], [4, PICTURE, 0]] * 2)}
    assert with_pictures(batch, batches_of(a_set([["a"]])), POLICY) is batch
