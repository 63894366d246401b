# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where each token goes when prompts are read once, or rows lie in one row. Index tensors, made on the host.

A sequence is `[prompt | continuation 1 | ... | continuation K]`, each token at the position that it has in its own
row. Sequences are rows of their own, padded to the longest, or lie behind one another in one row. Exact when nobody
attends across continuations or sequences, which `masks.py`, `pieces.py` and `varlen.py` see to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch

from .prompts import IGNORED, Group, Row

PREFIX, OUTSIDE = 0, -1  # segments of a sequence; continuation k is segment k + 1
_PAD_TO = 8  # as LlamaFactory's collator of pairs


@dataclass(frozen=True)
class Arrangement:
    """Rows for the model, and where the predictions of the batch's response tokens are.

    Attributes:
        tensors: int64, by name: `input_ids`, `position_ids` and, where given, `token_type_ids` (..., R, S); `segment`
            (R, S), whose token a cell holds; `column` (R, S), where it is in its own row; `positions` (N,), which
            hidden state predicts each response token, flattened over rows; `targets` (N,); `owners` (M,) where it
            belongs in the flattened result (rows of the batch, L - 1); `sources` (M,) which of the N that is, absent
            if M is N in the same order.
        pieces: for each sequence where its prompt begins, where that ends, and where each continuation ends, in the
            flattened rows.
        size: (R, S).
    """

    tensors: dict[str, torch.Tensor]
    pieces: list[list[int]]
    size: tuple[int, int]


class _Span(NamedTuple):
    """Cells that hold consecutive tokens of a row of the batch; with `step` 0 the same token again and again."""

    row: int
    start: int
    width: int
    segment: int
    shift: int = 0  # from its column to that of the same place in the row whose prompt is read
    step: int = 1


def arrange(
    rows: Sequence[Row], groups: Sequence[Group], tokens: Mapping[str, np.ndarray], labels: np.ndarray, packed: bool
) -> Arrangement:
    """Arrange the rows of a batch.

    Args:
        rows: of the batch.
        groups: of rows that share a prompt.
        tokens: `input_ids` and, where given, `position_ids` and `token_type_ids`, (..., R, L) int64.
        labels: (R, L).
        packed: all sequences in one row.
    """
    spans, pieces, size = _spans(rows, groups, packed)
    widths = np.array([span.width for span in spans])
    begins = np.cumsum(widths) - widths
    names = ("row", "start", "segment", "shift", "step")
    row, start, segment, shift, step = (np.repeat([getattr(s, name) for s in spans], widths) for name in names)
    column = start + step * (np.arange(len(row)) - np.repeat(begins, widths))
    found = {name: values[..., row, column].reshape(*values.shape[:-2], *size) for name, values in tokens.items()}
    cells = {"segment": segment, "column": column + shift}
    found |= {name: values.reshape(size) for name, values in cells.items()}
    found.setdefault("position_ids", found["column"])
    found |= _predictions(rows, groups, pieces, labels, (row, column, segment))
    return Arrangement({name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in found.items()}, pieces, size)


def _spans(
    rows: Sequence[Row], groups: Sequence[Group], packed: bool
) -> tuple[list[_Span], list[list[int]], tuple[int, int]]:
    """The spans of all cells in order, the pieces of `Arrangement`, and the size of the rows."""
    sequences = [_sequence(rows, group) for group in groups]
    totals = [sum(span.width for span in sequence) for sequence in sequences]
    size = sum(totals) if packed else -(-max(totals) // _PAD_TO) * _PAD_TO
    spans: list[_Span] = []
    pieces = []
    at = 0
    for sequence, total in zip(sequences, totals, strict=True):
        inside = [span for span in sequence if span.segment != OUTSIDE]
        pieces.append(list(accumulate((span.width for span in inside), initial=at)))
        spans += sequence
        if not packed:
            last = inside[-1]  # any token that is no picture, for the model counts those
            spans.append(_Span(last.row, last.start + last.width - 1, size - total, OUTSIDE, last.shift, 0))
        at += total if packed else size
    return spans, pieces, (1, size) if packed else (len(groups), size)


def _sequence(rows: Sequence[Row], group: Group) -> list[_Span]:
    """Prompt, continuations, and pictures that nobody attends to."""
    reader = group[0][0]
    read = rows[reader]
    spans = [_Span(reader, read.start, read.first - read.start, PREFIX)]
    for number, (first, *_) in enumerate(group):
        row = rows[first]
        spans.append(_Span(first, row.first, row.end - row.first, number + 1, read.start - row.start))
    tails = [(number, column) for same in group for number in same for column in rows[number].tail]
    return spans + [_Span(number, column, 1, OUTSIDE) for number, column in tails]


def _predictions(
    rows: Sequence[Row],
    groups: Sequence[Group],
    pieces: list[list[int]],
    labels: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, np.ndarray]:
    """Positions, targets, owners and sources. `cells`: row, column and segment of each cell."""
    row, column, segment = cells
    before = np.arange(len(row)) - 1
    for _, prompt, *ends in pieces:  # the last token of the prompt predicts the first of every continuation
        starts = np.array([prompt, *ends[:-1]])
        before[starts[starts < np.array(ends)]] = prompt - 1
    learned = np.flatnonzero((segment > PREFIX) & (labels[row, column] != IGNORED) & (column > 0))
    result = labels.shape[1] - 1  # columns of the result
    owners = row[learned] * result + column[learned] - 1
    found = {"positions": before[learned], "targets": labels[row, column][learned]}
    if any(len(same) > 1 for group in groups for same in group):
        owners, found["sources"] = _repeated(rows, groups, pieces, learned, owners, result)
    return found | {"owners": owners}


def _repeated(
    rows: Sequence[Row],
    groups: Sequence[Group],
    pieces: list[list[int]],
    learned: np.ndarray,
    owners: np.ndarray,
    result: int,
) -> tuple[np.ndarray, np.ndarray]:
    """`owners`, and after them those of rows that share the continuation of another, with the sources of all."""
    more, sources = [owners], [np.arange(len(owners))]
    for group, (_, start, *ends) in zip(groups, pieces, strict=True):
        for same, begin, end in zip(group, [start, *ends[:-1]], ends, strict=True):
            here = slice(*np.searchsorted(learned, (begin, end)))
            for other in same[1:]:
                moved = (other - same[0]) * result + rows[other].first - rows[same[0]].first
                more.append(owners[here] + moved)
                sources.append(sources[0][here])
    return np.concatenate(more), np.concatenate(sources)
