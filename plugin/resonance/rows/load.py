# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reading data files for a run, so that every row knows its source and its place in it."""

from __future__ import annotations

import copy
from typing import Any

import datasets
import pyarrow.parquet
from datasets.exceptions import DatasetGenerationError
from llamafactory.data.loader import _load_single_dataset as llamafactory_load_single_dataset

from .number import number_rows
from .validate.json_files import explain_unreadable


def load_dataset(path: str, *args: Any, **kwargs: Any) -> Any:
    """Load like ``datasets.load_dataset``, number the rows, and explain a file that cannot be read.

    Numbering happens here, before LlamaFactory samples, truncates or streams, so a row keeps its number in its file.

    Raises:
        ValueError: if a local file cannot be read; names file and rows.
    """
    files = kwargs.get("data_files")
    try:
        dataset = datasets.load_dataset(path, *args, **kwargs)
    except (DatasetGenerationError, ValueError) as error:
        told = explain_unreadable(files, error) if files else None
        if told is None:
            raise
        raise ValueError(told) from error
    label = "/".join(str(part) for part in (path, kwargs.get("name"), kwargs.get("data_dir")) if part)
    split = str(kwargs.get("split") or "train")
    if not files:
        return number_rows(dataset, [(label if split == "train" else f"{label} ({split})", None)])
    if split != "train":
        return number_rows(dataset, [(f"{', '.join(files)} ({split})", None)])
    if len(files) == 1:
        return number_rows(dataset, [(files[0], None)])
    return number_rows(dataset, [(file, _count(path, file, kwargs.get("cache_dir"))) for file in files])


def load_single_dataset(dataset_attr: Any, model_args: Any, data_args: Any, training_args: Any) -> Any:
    """Load like LlamaFactory, also when local files are streamed without data workers.

    LlamaFactory makes as many shards as there are workers; with none the stream would be empty.
    """
    if data_args.streaming and training_args.dataloader_num_workers == 0:
        training_args = copy.copy(training_args)
        training_args.dataloader_num_workers = 1
    return llamafactory_load_single_dataset(dataset_attr, model_args, data_args, training_args)


def _count(kind: str, file: str, cache_dir: str | None) -> int:
    if kind == "parquet":
        return pyarrow.parquet.ParquetFile(file).metadata.num_rows
    return len(datasets.load_dataset(kind, data_files=[file], split="train", cache_dir=cache_dir))
