# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reading datasets: columns in batches, and streams whose images we decode, so that a broken one is named."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import datasets

from .fields import ROW, SOURCE
from .types import Batch, Row

Dataset: TypeAlias = "datasets.Dataset | datasets.IterableDataset"


def column_batches(dataset: Dataset, columns: Sequence[str], size: int = 10_000) -> Iterator[Batch]:
    """Yield some columns of a dataset, so many rows at a time; the other columns are not read."""
    for table in dataset.select_columns(list(dict.fromkeys(columns))).with_format("arrow").iter(batch_size=size):
        yield table.to_pydict()


def decodable(feature: Any) -> Iterator[Any]:
    """Yield every image, audio or video feature inside a feature."""
    if hasattr(feature, "decode"):
        yield feature
    elif isinstance(feature, dict):
        for child in feature.values():
            yield from decodable(child)
    elif isinstance(feature, (list, tuple)):
        for child in feature:
            yield from decodable(child)
    elif hasattr(feature, "feature"):
        yield from decodable(feature.feature)


def with_decoding(features: datasets.Features | None, on: bool) -> datasets.Features | None:
    """Return a copy with decoding switched on or off, or None if there is nothing to decode."""
    features = copy.deepcopy(features)
    leaves = list(decodable(features))
    for leaf in leaves:
        leaf.decode = on
    if not features or not leaves:
        return None
    return datasets.Features(dict(features))  # a new object: it notes at birth what to decode


def undecoded(dataset: datasets.IterableDataset) -> datasets.IterableDataset:
    """Return a stream whose images stay bytes and paths."""
    features = with_decoding(dataset.features, False)
    return dataset if features is None else dataset.cast(features)


def decoded(dataset: datasets.IterableDataset) -> datasets.IterableDataset:
    """Return an undecoded stream with its images decoded, row by row, each failure named."""
    features = with_decoding(dataset.features, True)
    return dataset if features is None else dataset.map(_decode, fn_kwargs={"features": features})


def _decode(example: Row, features: datasets.Features) -> Row:
    """Decode one example as `datasets` does.

    Raises:
        ValueError: if an image cannot be decoded; names source and row.
    """
    try:
        return features.decode_example(example)
    except Exception as error:
        where = f"{example.get(SOURCE)}, row {example.get(ROW)}"
        raise ValueError(f"{where}: cannot be decoded ({type(error).__name__}: {error}).") from error
