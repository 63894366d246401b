# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which rows of a batch answer the same prompt, and where in a row prompt and continuation are. Works on the host.

A row is `[padding | prompt | continuation | padding]`: the continuation begins with the first token that has a label
and runs to the last token that is attended to. Tokens in it without a label (what a tool or an environment said) are
read, but carry no loss. Rows belong together if their prompts and pictures are equal, whatever their order, number and
padding.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

IGNORED = -100  # label of a token that carries no loss


class CannotShareError(ValueError):
    """Why a batch, or a model, takes the plain layout."""


class Row(NamedTuple):
    """Columns of a padded row: attended to are `start` to `end`, and the continuation begins at `first`.

    `pictures_in_response`: whether there are picture tokens after `first`. `tail`: columns of picture tokens that
    nobody attends to. LlamaFactory puts one picture into a batch without any, so that every rank calls the vision
    tower; the model counts picture tokens, so they must stay.
    """

    start: int
    first: int
    end: int
    pictures_in_response: bool = False
    tail: tuple[int, ...] = ()


Group = list[list[int]]  # rows of one prompt; rows within an inner list have the same continuation


def read_rows(ids: np.ndarray, attended: np.ndarray, labels: np.ndarray, media: np.ndarray) -> list[Row]:
    """Find the parts of each row.

    Args:
        ids: token ids (R, L).
        attended: the attention mask (R, L).
        labels: (R, L), IGNORED where there is no loss.
        media: which tokens stand for pictures, videos and sounds (R, L).

    Raises:
        CannotShareError: with the reason, if a row has other parts.
    """
    if attended.shape != ids.shape or not np.isin(attended, (0, 1)).all():
        raise CannotShareError("rows are packed already")
    seen = attended == 1
    count, start = seen.sum(1), seen.argmax(1)
    end = ids.shape[1] - seen[:, ::-1].argmax(1)
    if not count.all():
        raise CannotShareError("a row has no token")
    outside = media & ~seen
    if (end - start != count).any():
        raise CannotShareError("tokens that nobody attends to stand among others")
    learned = labels != IGNORED
    learned[:, 0] = False  # no token predicts it
    if (learned & ~seen).any():
        raise CannotShareError("a label is on a token that nobody attends to")
    if (outside.any(1) & (media & seen).any(1)).any():
        raise CannotShareError("padding contains picture tokens")
    first = np.where(learned.any(1), learned.argmax(1), end)
    if (first == start).any():
        raise CannotShareError("a response follows a token that nobody attends to")
    late = (media & seen & (np.arange(ids.shape[1]) >= first[:, None])).any(1)
    tails = [tuple(np.flatnonzero(row).tolist()) for row in outside]
    columns = (part.tolist() for part in (start, first, end, late))
    return [Row(*row) for row in zip(*columns, tails, strict=True)]


def group_rows(rows: Sequence[Row], tokens: np.ndarray, labels: np.ndarray, shown: Sequence[Hashable]) -> list[Group]:
    """Put rows with equal prompts together, in the order of the batch. Pictures in a response keep a row by itself.

    Args:
        rows: of `read_rows`.
        tokens: all that a token is, (n, R, L): its id and, where given, positions and types.
        labels: (R, L).
        shown: for each row, what tells its pictures from others.
    """
    groups: dict[Hashable, dict[bytes, list[int]]] = {}
    for number, row in enumerate(rows):
        prompt = tokens[:, number, row.start : row.first].tobytes()
        answer = tokens[:, number, row.first : row.end].tobytes() + labels[number, row.first : row.end].tobytes()
        apart = number if row.pictures_in_response else None
        groups.setdefault((prompt, shown[number], apart), {}).setdefault(answer, []).append(number)
    return [list(group.values()) for group in groups.values()]


def alone(rows: Sequence[Row]) -> list[Group]:
    """Each row with a prompt of its own."""
    return [[[number]] for number in range(len(rows))]
