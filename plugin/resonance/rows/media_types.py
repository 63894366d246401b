# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The types of media columns, known before the rows come.

`datasets` guesses the type of a mapped column from its first 1000 rows, unless its input has a column of that name.
Text pairs ahead of image pairs would fix the guess at "null", and the first image would then stop the run.
"""

from __future__ import annotations

from typing import Any

import datasets
import pyarrow

from .fields import MEDIA_COLUMNS
from .types import DatasetAttr


def hint_aligned(dataset: datasets.Dataset, dataset_attr: DatasetAttr) -> datasets.Dataset:
    """Add empty ``_images``, ``_videos`` and ``_audios`` of the raw columns' types, for aligning to see."""
    if dataset._indices is not None:  # sampled, so already mixed; adding a column would copy all rows
        return dataset
    hints = {}
    for key in MEDIA_COLUMNS:
        column = getattr(dataset_attr, key, None)
        if column and _known(dataset, column):
            feature = dataset.features[column]
            arrow = dataset.features.arrow_schema.field(column).type
            is_list = pyarrow.types.is_list(arrow) or pyarrow.types.is_large_list(arrow)
            hints[f"_{key}"] = feature if is_list else [feature]
    return _with_empty_columns(dataset, hints)


def hint_tokenized(aligned: datasets.Dataset) -> datasets.Dataset:
    """Add empty ``images``, ``videos`` and ``audios`` of the aligned columns' types, for tokenizing to see."""
    columns = {key: f"_{key}" for key in MEDIA_COLUMNS}
    hints = {key: aligned.features[column] for key, column in columns.items() if _known(aligned, column)}
    return _with_empty_columns(aligned, hints)


def _known(dataset: datasets.Dataset, column: str) -> bool:
    """Return whether any row shows what the column holds; without one its type is null or a list of null."""
    return "null" not in str(dataset.features.arrow_schema.field(column).type)


def _with_empty_columns(dataset: datasets.Dataset, hints: dict[str, Any]) -> datasets.Dataset:
    hints = {name: feature for name, feature in hints.items() if name not in dataset.column_names}
    if not hints:
        return dataset
    empty = {name: [None] * len(dataset) for name in hints}
    return datasets.concatenate_datasets(
        [dataset, datasets.Dataset.from_dict(empty, features=datasets.Features(hints))], axis=1
    )
