# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Accuracies, margins and calibration of groups of pairs: pure functions of numbers. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..reward_model.accuracy import EDGES, groups_of, margin_bin

LENGTHS = (32, 64, 128, 256, 512, 1024)  # edges of the bins of tokens of the longer answer
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class PairLogps:
    """What a model makes of one pair.

    Attributes:
        chosen, rejected: log-probability of each answer, summed over its tokens.
        chosen_tokens, rejected_tokens: how many these are, the template's ending with them.
        reference: the same two sums under the reference; None without one.
        overlong: whether the pair has more tokens than the model was trained with.
    """

    chosen: float
    rejected: float
    chosen_tokens: int
    rejected_tokens: int
    reference: tuple[float, float] | None = None
    overlong: bool = False

    def numbers(self) -> tuple[float, ...]:
        return (self.chosen, self.rejected, *(self.reference or ()))

    def beside(self, other: PairLogps) -> PairLogps:
        """With another model's numbers of the same tokens as the reference.

        Raises:
            ValueError: it has split the answers into other tokens.
        """
        if (self.chosen_tokens, self.rejected_tokens) != (other.chosen_tokens, other.rejected_tokens):
            raise ValueError("the reference splits answers into other tokens: it is of another tokenizer")
        return replace(self, reference=(other.chosen, other.rejected))

    def margin(self, *, mean: bool, reference: bool) -> float:
        """Of the chosen over the rejected answer: of means a token or of sums, above the reference's or not."""
        chosen, rejected = self.chosen, self.rejected
        if reference and self.reference is not None:
            chosen, rejected = chosen - self.reference[0], rejected - self.reference[1]
        return chosen / self.chosen_tokens - rejected / self.rejected_tokens if mean else chosen - rejected


def groups(rows: Sequence[Mapping[str, Any]], found: Sequence[PairLogps]) -> dict[str, list[int]]:
    """By name the places of pairs: all, each file, each bin of scores, each bin of lengths, and which is longer."""
    named = groups_of(rows)
    bins = [margin_bin(edge) for edge in EDGES] + [margin_bin(math.inf)]
    files = {name: places for name, places in named.items() if name not in bins}
    scores = {f"score {name}": named[name] for name in bins if name in named}
    by_length: dict[str, list[int]] = {}
    for place, of in enumerate(found):
        by_length.setdefault(_length_bin(max(of.chosen_tokens, of.rejected_tokens)), []).append(place)
    lengths = {name: by_length[name] for name in _length_bins() if name in by_length}
    longer = {
        "chosen longer": [i for i, of in enumerate(found) if of.chosen_tokens > of.rejected_tokens],
        "rejected longer": [i for i, of in enumerate(found) if of.chosen_tokens < of.rejected_tokens],
    }
    whole = {"all": list(range(len(rows))), **files, **scores, **lengths, **longer}
    return {name: places for name, places in whole.items() if places}


def _length_bin(tokens: int) -> str:
    edge = next((edge for edge in LENGTHS if tokens <= edge), None)
    return f"tokens>{LENGTHS[-1]}" if edge is None else f"tokens<={edge}"


def _length_bins() -> list[str]:
    return [*(f"tokens<={edge}" for edge in LENGTHS), f"tokens>{LENGTHS[-1]}"]


def summary(rows: Sequence[Mapping[str, Any]], found: Sequence[PairLogps]) -> dict[str, dict[str, float]]:
    """Of each group: the share of pairs whose chosen answer is ahead by each measure, and mean margins.

    Args:
        rows: pairs, with origin and scores where they have some.
        found: of each.
    """
    return {name: _of([found[place] for place in places]) for name, places in groups(rows, found).items()}


def _of(found: Sequence[PairLogps]) -> dict[str, float]:
    def ahead(margins: Iterable[float]) -> float:
        return sum(margin > 0 for margin in margins) / len(found)

    means = [of.margin(mean=True, reference=False) for of in found]
    values: dict[str, float] = {
        "pairs": len(found),
        "overlong": sum(of.overlong for of in found),
        "accuracy_mean": ahead(means),
        "accuracy_sum": ahead(of.margin(mean=False, reference=False) for of in found),
        "margin_mean": sum(means) / len(found),
    }
    if found[0].reference is not None:
        above = [of.margin(mean=True, reference=True) for of in found]
        total = [of.margin(mean=False, reference=True) for of in found]
        values |= {"accuracy_reference_mean": ahead(above), "accuracy_reference_sum": ahead(total)}
        values["margin_reference"] = sum(above) / len(found)
    return values


def calibration(found: Sequence[PairLogps], beta: float, *, mean: bool, reference: bool = True) -> dict[str, Any]:
    """Whether the share of pairs that are ranked right is what the margins promise.

    A loss with a sigmoid reads p = sigmoid(beta * margin) as the probability that the chosen answer is the better one.
    The model is as sure of its ranking as max(p, 1 - p), and right if p > 0.5. In each bin of that confidence the
    share of right rankings should be its mean. The expected calibration error is the mean difference, by pairs.

    Args:
        found: pairs.
        beta: of the loss.
        mean: whether margins are of means a token or of sums.
        reference: whether margins are above the reference's, if there is one.
    """
    margins = [of.margin(mean=mean, reference=reference) for of in found]
    above = " above the reference" if reference and found[0].reference else ""
    sure = [(_sigmoid(abs(beta * margin)), margin > 0) for margin in margins]
    bins = [_bin(low, high, sure) for low, high in zip(CONFIDENCES, CONFIDENCES[1:], strict=False)]
    off = sum(of["pairs"] * abs(of["confidence"] - of["right"]) for of in bins if of["pairs"]) / len(found)
    return {
        "beta": beta,
        "margin": f"{'mean a token' if mean else 'sum'}{above}",
        "error": off,
        "bins": [of for of in bins if of["pairs"]],
    }


def _bin(low: float, high: float, sure: Sequence[tuple[float, bool]]) -> dict[str, float]:
    inside = [of for of in sure if low <= of[0] < high or of[0] == high == 1.0]
    count = max(len(inside), 1)
    confidence, right = (sum(column) / count for column in zip(*inside, strict=True)) if inside else (0.0, 0.0)
    return {"from": low, "to": high, "pairs": len(inside), "confidence": confidence, "right": right}


def _sigmoid(value: float) -> float:
    """Of a number from 0."""
    return 1 / (1 + math.exp(-value))
