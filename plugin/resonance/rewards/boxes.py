# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rewards for where something is in a picture."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..spec import Range
from .answers import answer_text
from .spec import Completions, InputError, declare_reward

NUMBER = r"-?\d+(?:\.\d+)?"
BOX = re.compile(rf"[\[(]\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*[\])]")
Box = tuple[float, ...]


def iou_of(first: Box, second: Box) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2); 0 for a box without an area."""
    if any(box[2] <= box[0] or box[3] <= box[1] for box in (first, second)):
        return 0.0
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (areas - shared)


@declare_reward(columns=("answer",), ranges={"threshold": Range(low=0.0, high=1.0)})
def iou(batch: Completions, *, threshold: float = 0.0) -> list[float | None]:
    """Intersection over union of the box that a completion names and the one in the data.

    Args:
        batch: completions, with the column `answer`, four numbers [x1, y1, x2, y2] or a text of them; a row whose
            answer is null is left out. In a completion the last "[x1, y1, x2, y2]" counts, in `<answer>...</answer>`
            if there is one. Both in the pixels that the model sees: nothing is rescaled.
        threshold: above 0, 1 where the IoU reaches it, else 0.

    Raises:
        InputError: an answer that is no box.
    """

    def reward(completion: str, answer: object, row: int) -> float | None:
        if answer is None:
            return None
        truth = _box(answer)
        if truth is None or iou_of(truth, truth) == 0:
            where = f"completion {row}{batch.of(row)}"
            raise InputError(f"the answer of {where} is no box: {answer!r}; it must be [x1, y1, x2, y2]")
        found = BOX.findall(answer_text(completion))
        value = iou_of(tuple(map(float, found[-1])), truth) if found else 0.0
        return float(value >= threshold) if threshold else value

    rows = zip(batch.completions, batch.column("answer"), range(len(batch)), strict=True)
    return [reward(*row) for row in rows]


def _box(answer: object) -> Box | None:
    """Four finite numbers of a list or a text, else None."""
    if isinstance(answer, str):
        found = BOX.fullmatch(answer.strip())
        answer = found.groups() if found else ()
    if not isinstance(answer, Sequence) or len(answer) != 4:
        return None
    try:
        box = tuple(float(value) for value in answer)
    except (TypeError, ValueError):
        return None
    return box if all(map(math.isfinite, box)) else None
