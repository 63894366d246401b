# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The cache of picture features of a run: whether it can pay, and what is logged about it.

What is kept, and when it may be used, is decided in `forward/features.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow
from llamafactory.extras import logging
from transformers import TrainerCallback

from ..forward.features import FeatureCache

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

MEDIA = ("images", "videos")
_ROWS = 1000  # read at a time, for sets that hold the bytes of their pictures


class Sharded(Protocol):
    """What a cache has to know of an engine."""

    @property
    def uses_fsdp(self) -> bool:
        """Whether the weights of the vision tower are spread over ranks by FSDP."""


class OnDisk(Protocol):
    """What it has to know of a reference on disk."""

    @property
    def calls_policy(self) -> bool:
        """Whether a pass with the policy's weights is still to come."""

    @property
    def is_all(self) -> bool:
        """Whether the run ends before it trains."""


def feature_cache(
    engine: Sharded, budget: int, train: Any, evaluation: Any, args: Any, cached: OnDisk | None
) -> FeatureCache | None:
    """What `image_feature_cache` asks for; None if off, or if no picture comes twice. Logs why.

    Args:
        engine: that is to use the cache.
        budget: bytes of host memory; 0 for off.
        train: the training set, a dict of sets, or None.
        evaluation: the same.
        args: training arguments.
        cached: the reference on disk, if it is there.
    """
    if not budget:
        return None
    datasets = [part for data in (train, evaluation) for part in (data.values() if isinstance(data, dict) else [data])]
    datasets = [part for part in datasets if part is not None]
    total, passes = 0, 0.0
    if engine.uses_fsdp:
        why = "FSDP spreads the weights of the vision tower over ranks, which would wait for each other"
    elif not all(hasattr(part, "__len__") for part in datasets):
        why = "whether a stream shows a picture again is not known"
    else:
        total, repeated = pictures_of(datasets)
        passes = _passes(args, train, cached)
        again = passes > 1 or repeated or (args.do_train and str(args.eval_strategy.value) != "no")
        why = "the rows have no pictures" if not total else "" if again else "no picture comes a second time"
    if why:
        logger.info_rank0(f"image_feature_cache: off: {why}.")
        return None
    logger.info_rank0(
        f"image_feature_cache: {total} pictures, {passes:.1f} passes over the rows; up to {budget / 1e6:.0f} MB of "
        "host memory a process."
    )
    return FeatureCache(budget, -(-total // args.world_size), logger.info_rank0)


def pictures_of(datasets: list[Any]) -> tuple[int, bool]:
    """How many pictures and videos tokenized rows have in all, and whether one of them may come in several rows.

    Files are told apart by name here, which is enough to see whether to try; what has no name may come again.
    """
    total, names = 0, set[str]()
    for dataset in datasets:
        for media in _media(dataset):
            total += len(media)
            known = pyarrow.types.is_string(media.type) or pyarrow.types.is_large_string(media.type)
            names.update(media.to_pylist() if known else [])
    return total, len(names) < total


def _media(dataset: Any) -> Iterator[Any]:
    """The lists of media of all rows, one after the other, as arrays of Arrow."""
    columns = [name for name in MEDIA if name in dataset.column_names]
    if not columns:
        return
    for table in dataset.select_columns(columns).with_format("arrow").iter(_ROWS):
        for column in table.columns:
            if pyarrow.types.is_list(column.type) or pyarrow.types.is_large_list(column.type):
                yield from (chunk.flatten() for chunk in column.chunks)


def _passes(args: Any, train: Any, cached: OnDisk | None) -> float:
    """How often a run visits its rows with the policy's tower: to train, and to compute a reference that shares it."""
    epochs = 0.0
    if args.do_train and train is not None and not (cached and cached.is_all):
        rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        epochs = args.max_steps * rows / len(train) if args.max_steps > 0 else args.num_train_epochs
    return epochs + (cached is not None and cached.calls_policy)


class FeatureSummary(TrainerCallback):
    """Logs at the end of the training what the cache has done."""

    def __init__(self, cache: FeatureCache) -> None:
        self.cache = cache

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.cache.reason is None and self.cache.account.lookups:
            logger.info_rank0(f"image_feature_cache: {self.cache.summary()}.")
