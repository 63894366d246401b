# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every row learns its source and its place in it, map-style or streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from datasets.fingerprint import Hasher

from .fields import ROW, SOURCE
from .stream import undecoded


def number_rows(dataset: Any, parts: Sequence[tuple[str, int | None]]) -> Any:
    """Add the source and the zero-based row to every row.

    A sampled map-style dataset gets the rows it was sampled from, as long as it still has its indices.

    Args:
        dataset: map-style or iterable.
        parts: (source, number of rows) in order; None stands for all rows.
    """
    whole = ", ".join(source for source, _ in parts)
    taken = [name for name in (SOURCE, ROW) if name in (dataset.column_names or [])]
    dataset = dataset.remove_columns(taken) if taken else dataset
    if isinstance(dataset, datasets.IterableDataset):
        return _number_stream(dataset, whole)

    total = len(dataset)
    if len(parts) == 1 or sum(count or 0 for _, count in parts) != total:
        indices = dataset._indices
        sources = [whole] * total
        rows = list(range(total)) if indices is None else indices.column(0).to_pylist()
    else:
        sources = [source for source, count in parts for _ in range(count or 0)]
        rows = [row for _, count in parts for row in range(count or 0)]
    fingerprint = Hasher.hash((dataset._fingerprint, list(parts)))
    dataset = dataset.add_column(SOURCE, sources, new_fingerprint=Hasher.hash((fingerprint, SOURCE)))
    return dataset.add_column(ROW, rows, new_fingerprint=Hasher.hash((fingerprint, ROW)))


def _number_stream(dataset: Any, source: str) -> Any:
    dataset = undecoded(dataset)
    features = dataset.features
    if features is not None:
        features = datasets.Features({**features, SOURCE: datasets.Value("string"), ROW: datasets.Value("int64")})
    return dataset.map(RowNumberer(source), with_indices=True, features=features)


@dataclass(frozen=True)
class RowNumberer:
    """Number the rows of a stream. With several data workers each counts the rows of its own part."""

    source: str

    def __call__(self, example: dict[str, Any], index: int) -> dict[str, Any]:
        """Add source and row to one example."""
        return {**example, SOURCE: self.source, ROW: index}
