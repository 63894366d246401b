# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which tokens of two responses to a prompt differ, and a batch that says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

import torch
from llamafactory.extras.constants import IGNORE_INDEX

CHANGED = "changed_tokens"
"""In a batch: bool (2B, L-1), of token t+1 of each row in column t. No model input."""

_SHARED = 3  # tokens of a stretch that counts as shared, of the released codes of RLHF-V and VL-RLHF


def changed_tokens(chosen: Sequence[int], rejected: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """For each token of two responses whether it is in a stretch that stands in place of one of the other response.

    Between stretches of `_SHARED` or more tokens that both have in the same order; both begin with such a one, the
    prompt. What was only put in or left out differs from nothing. The rule of the released codes, but for their
    `autojunk`, by which difflib leaves frequent tokens of rows of 200 and more out of account.
    """
    start = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))))
    matcher = SequenceMatcher(None, chosen[start:], rejected[start:], autojunk=False)
    *blocks, end = matcher.get_matching_blocks()
    found = [False] * len(chosen), [False] * len(rejected)
    a, b = start, start
    for block in [*(each for each in blocks if each.size >= _SHARED), end]:
        next_a, next_b = start + block.a, start + block.b
        if next_a > a and next_b > b:
            found[0][a:next_a] = [True] * (next_a - a)
            found[1][b:next_b] = [True] * (next_b - b)
        a, b = next_a + block.size, next_b + block.size
    return found


@dataclass
class ChangedCollator:
    """Any collator's batch of pairs, with CHANGED beside it."""

    collator: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate tokenized pairs."""
        batch = self.collator(features)
        labels = batch["labels"][: 2 * len(features), 1:]
        changed = torch.zeros_like(labels, dtype=torch.bool)
        learned = labels != IGNORE_INDEX
        for row in range(len(features)):
            pair = row, row + len(features)
            marks = changed_tokens(*(labels[number][learned[number]].tolist() for number in pair))
            for number, mark in zip(pair, marks, strict=True):
                changed[number, learned[number]] = torch.tensor(mark, dtype=torch.bool)
        return {**batch, CHANGED: changed}
