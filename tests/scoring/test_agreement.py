# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Counts and correlations of scores, worked by hand."""

from __future__ import annotations

from array import array

import pytest

from resonance.datafiles.scores import Scores
from resonance.scoring.agreement import agreement, histogram, summary


def test_what_is_counted():
    found = summary(Scores(array("d", [4, 5, 2, 3]), array("d", [1, 5, 3, 2])))
    assert (found["pairs"], found["ties"], found["reversed"]) == (4, 1, 1)
    assert (found["tau_good"], found["share_at_tau_good"], found["median_margin"]) == (3.5, 0.5, 0.5)
    assert [(each["from"], each["chosen"], each["rejected"]) for each in found["histogram"]] == [
        (1, 0, 1),
        (2, 1, 1),
        (3, 1, 1),
        (4, 1, 0),
        (5, 1, 1),
    ]


def test_many_values_go_into_ten_parts():
    bins = histogram(Scores(array("d", [i / 10 for i in range(101)]), array("d", [0.0] * 101)))
    assert [(each["from"], each["to"]) for each in bins] == [(i, i + 1) for i in range(10)]
    assert [each["chosen"] for each in bins] == [10] * 9 + [11] and bins[0]["rejected"] == 101


def test_agreement_with_scores_of_before():
    before = {("a", 0): (3.0, 1.0), ("a", 1): (2.0, 2.0), ("a", 2): (1.0, 4.0), ("b", 0): (5.0, 0.0)}
    now = {("a", 0): (8.0, 2.0), ("a", 1): (5.0, 4.0), ("a", 2): (9.0, 1.0), ("c", 9): (1.0, 0.0)}
    found = agreement(before, now)
    # ranks of 3 1 2 2 1 4: 5 1.5 3.5 3.5 1.5 6; of 8 2 5 4 9 1: 5 2 4 3 6 1
    assert found["pairs"] == 3 and found["tied"] == 1 and found["same_order"] == 0.5
    left, right = [5, 1.5, 3.5, 3.5, 1.5, 6], [5, 2, 4, 3, 6, 1]
    covariance = sum((a - 3.5) * (b - 3.5) for a, b in zip(left, right, strict=True))
    spread = [sum((a - 3.5) ** 2 for a in side) for side in (left, right)]
    assert found["spearman"] == pytest.approx(covariance / (spread[0] * spread[1]) ** 0.5)
    same = agreement({("a", 0): (1.0, 1.0)}, {("a", 0): (2.0, 1.0)})
    assert same == {"pairs": 1, "spearman": None, "kendall": None, "same_order": None, "tied": 1}
    assert agreement({}, now) is None
