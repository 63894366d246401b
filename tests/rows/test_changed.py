# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which tokens of two responses differ: by hand, and as the released codes of RLHF-V and VL-RLHF have it."""

from __future__ import annotations

import json

import pytest
import torch

from conftest import GOLDEN
from resonance.rows.changed import CHANGED, ChangedCollator, changed_tokens

CASES = json.loads((GOLDEN / "ddpo.json").read_text())["cases"]


def places(marks):
    return [place for place, mark in enumerate(marks) if mark]


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], [1, 9, 3, 4, 5, 6], ([1], [1])),
        ([1, 2, 3, 4, 5, 6], [1, 9, 9, 9, 3, 4, 5, 6], ([1], [1, 2, 3])),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 9, 4, 5, 6], ([], [])),  # only put in
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 5, 6], ([3, 4, 5], [3, 4])),  # an end of two tokens is too short to be shared
        ([1, 2, 4, 5, 6, 7], [1, 2, 5, 6, 7], ([], [])),  # only left out
        ([1, 2], [3], ([0, 1], [0])),
        ([1, 2], [1, 2], ([], [])),
        ([], [1], ([], [])),
    ],
)
def test_by_hand(chosen, rejected, expected):
    assert tuple(map(places, changed_tokens(chosen, rejected))) == expected


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_as_the_released_codes(case):
    found = changed_tokens(case["chosen"], case["rejected"])
    assert list(map(places, found)) == [case["w_mod"], case["r_mod"]]


def test_frequent_tokens_of_long_responses_count():
    """difflib would leave a token out that stands in more than a hundredth of a long row."""
    words = [5, 6, 7, 8] * 60
    other = [*words[:100], 1, *words[101:]]
    assert tuple(map(places, changed_tokens(words, other))) == ([100], [100])


@pytest.mark.parametrize("left", [False, True])
def test_a_batch_has_them_in_the_columns_of_its_predictions(left):
    rows = [[1, 2, 3, 4], [6, 7], [1, 9, 3, 4], [6, 7, 8]]
    labels = torch.full((4, 8), -100)
    for row, ids in enumerate(rows):
        at = 8 - len(ids) if left else 3
        labels[row, at : at + len(ids)] = torch.tensor(ids)
    batch = ChangedCollator(lambda features: {"labels": labels, "other": features})([{}, {}])
    assert batch["other"] == [{}, {}] and batch[CHANGED].shape == (4, 7) and batch[CHANGED].dtype == torch.bool
    differ = [[2, 3, 4], [], [9, 3, 4], []]  # an end of two tokens is too short to be shared
    assert [labels[row, 1:][batch[CHANGED][row]].tolist() for row in range(4)] == differ
