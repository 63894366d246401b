# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reading data files for a run, so that every row knows its source and its place in it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import datasets
import pandas
import pyarrow.parquet
from datasets.exceptions import DatasetGenerationError
from datasets.fingerprint import Hasher
from llamafactory.data.loader import _load_single_dataset as llamafactory_load_single_dataset

from ..upstream import DataArguments, TrainingArguments
from .fields import ROW, SOURCE
from .stream import Dataset, undecoded
from .types import DatasetAttr, Row
from .validate.json_files import explain_unreadable, require_unmixed


def load_single_dataset(
    dataset_attr: DatasetAttr, model_args: Any, data_args: DataArguments, training_args: TrainingArguments
) -> Dataset:
    """Load like LlamaFactory, also when local files are streamed without data workers.

    LlamaFactory makes as many shards as there are workers; with none the stream would be empty.
    """
    if data_args.streaming and training_args.dataloader_num_workers == 0:
        training_args = copy.copy(training_args)
        training_args.dataloader_num_workers = 1
    return llamafactory_load_single_dataset(dataset_attr, model_args, data_args, training_args)


def load_dataset(path: str, *args: Any, **kwargs: Any) -> Dataset:
    """Load like ``datasets.load_dataset``, number the rows, and explain a file that cannot be read.

    Numbering happens here, before LlamaFactory samples, truncates or streams, so a row keeps its number in its file.

    Args:
        path: the type of local files, or a hub dataset.
        args: of ``datasets.load_dataset``.
        kwargs: of ``datasets.load_dataset``.

    Raises:
        ValueError: if a local file cannot be read; names file and rows.
    """
    files = kwargs.get("data_files")
    try:
        if files and path == "csv":
            kwargs = kwargs | _as_text(files[0])
        dataset = datasets.load_dataset(path, *args, **kwargs)
    except (DatasetGenerationError, ValueError) as error:
        explained = explain_unreadable(files, error) if files else None
        if explained is None:
            raise
        raise ValueError(explained) from error
    if files and path == "json" and "float64" in str(dataset.features):
        require_unmixed(files)
    split = str(kwargs.get("split") or "train")
    if files and split == "train" and len(files) > 1:
        return number_rows(dataset, [(file, _count_rows(path, file, kwargs.get("cache_dir"))) for file in files])
    if files:
        label = ", ".join(files)
    else:
        label = "/".join(str(part) for part in (path, kwargs.get("name"), kwargs.get("data_dir")) if part)
    return number_rows(dataset, [(label if split == "train" else f"{label} ({split})", None)])


def _as_text(file: str) -> dict[str, Any]:
    """Options by which the cells of a CSV file stay what they are; else "None" is nothing, and "007" the number 7."""
    columns = pandas.read_csv(file, nrows=0).columns
    features = datasets.Features({name: datasets.Value("string") for name in columns})
    return {"features": features, "keep_default_na": False, "na_values": [""]}


def _count_rows(kind: str, file: str, cache_dir: str | None) -> int:
    if kind == "parquet":
        return pyarrow.parquet.ParquetFile(file).metadata.num_rows
    more = _as_text(file) if kind == "csv" else {}
    return len(datasets.load_dataset(kind, data_files=[file], split="train", cache_dir=cache_dir, **more))


def number_rows(dataset: Dataset, parts: Sequence[tuple[str, int | None]]) -> Dataset:
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


def _number_stream(dataset: datasets.IterableDataset, source: str) -> datasets.IterableDataset:
    dataset = undecoded(dataset)
    features = dataset.features
    if features is not None:
        features = datasets.Features({**features, SOURCE: datasets.Value("string"), ROW: datasets.Value("int64")})
    return dataset.map(_number, with_indices=True, fn_kwargs={"source": source}, features=features)


def _number(example: Row, index: int, source: str) -> Row:
    """With several data workers each counts the rows of its own part."""
    return {**example, SOURCE: source, ROW: index}
