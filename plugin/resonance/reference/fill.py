# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One pass of the reference model over the rows whose log-probabilities are not on disk yet.

Each rank takes every n-th row and batch, writes shards of its own, and makes as many calls as the
others, because under ZeRO-3 and DDP every call is a meeting of all ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..forward.result import TokenLogps, sums
from ..forward.walk import evaluating
from ..rows.fields import CARRIED
from .keys import keyed_columns, named_key
from .store import ReferenceStore

_OF_THE_LOSS = frozenset(column.name for column in CARRIED)
FLUSH_SECONDS = 60.0  # the most work that a kill can cost a rank


class Row(NamedTuple):
    """Where a row is: its key, the number of its data set, its place there, and how many numbers it has."""

    key: bytes
    dataset: int
    place: int
    numbers: int


def keyed_rows(datasets: Sequence[Any], columns: Sequence[str], rank: int, world: int) -> list[Row]:
    """The rows of all data sets, on every rank alike; each rank reads its part of the media.

    Args:
        datasets: of tokenized rows.
        columns: of numbers that tell a row from others, with its media.
        rank: of this process.
        world: how many there are.

    Raises:
        ValueError: a row's media cannot be read; names the row.
    """
    mine = []
    for number, dataset in enumerate(datasets):
        view = dataset.select_columns([name for name in keyed_columns(columns) if name in dataset.column_names])
        for place in range(rank, len(view), world):
            row = view[place]
            numbers = sum(len(row[name]) for name in columns)
            mine.append(Row(named_key(row, columns, dataset, place), number, place, numbers))
    return gather_object(mine)


def missing_rows(rows: Sequence[Row], store: ReferenceStore) -> list[Row]:
    """Those that the store lacks, each key once, the longest first: what does not fit into memory fails at once."""
    lacking = {row.key: row for row in rows if row.key not in store}
    return sorted(lacking.values(), key=lambda row: (-row.numbers, row.key))


class Caller(Protocol):
    """What calls models on collated batches; `training.engine.Engine` is one."""

    accelerator: Any

    @property
    def collate(self) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        """Tokenized rows to a batch."""

    def unwrapped(self, model: Any) -> Any:
        """The module behind DDP, DeepSpeed and the like."""

    def on_batch(self, model: Any, batch: dict[str, Any]) -> TokenLogps:
        """Log-probabilities of a batch's responses; one call of `model`."""


def fill(
    engine: Caller, model: Any, store: ReferenceStore, datasets: Sequence[Any], rows: Sequence[Row], args: Any
) -> None:
    """Compute `rows` and store them.

    Args:
        engine: calls the model.
        model: the reference, as the accelerator prepared it.
        store: opened on every rank; has all rows afterwards.
        datasets: that `rows` count in.
        rows: that are missing, the same on every rank.
        args: training arguments.
    """
    size, world, rank = args.per_device_train_batch_size, args.world_size, args.process_index
    batches = [list(rows[i : i + size]) for i in range(0, len(rows), size)]
    mine = batches[rank::world]
    surplus = len(mine) < len(batches[::world])  # one call more, so that no other rank waits for this one
    if args.should_save:
        store.begin()
    engine.accelerator.wait_for_everyone()
    writer = _Writer(store)
    device = engine.accelerator.device
    # random numbers go on afterwards as if nothing had been
    with torch.random.fork_rng([device] if device.type == "cuda" else []), evaluating(engine.unwrapped(model)):
        loader = DataLoader(
            _Places(datasets),
            batch_sampler=mine + batches[:1] * surplus,
            collate_fn=engine.collate,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
        )
        progress = tqdm(loader, "Reference log-probs", disable=args.disable_tqdm or not args.should_log)
        for batch, keys in zip(progress, [[row.key for row in part] for part in mine] + [None] * surplus, strict=True):
            writer.add(keys, engine.on_batch(model, batch))
    writer.flush()
    engine.accelerator.wait_for_everyone()
    store.reload()


class _Places(torch.utils.data.Dataset):
    """Rows by where they are, without what only the loss reads: evaluation sets may lack it."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = datasets

    def __getitem__(self, row: Row) -> dict[str, Any]:
        found = self.datasets[row.dataset][row.place]
        return {name: value for name, value in found.items() if name not in _OF_THE_LOSS}


class _Writer:
    """Collects a rank's results and writes a shard every FLUSH_SECONDS."""

    def __init__(self, store: ReferenceStore) -> None:
        self.store, self.last = store, time.monotonic()
        self.keys: list[bytes] = []
        self.values: list[tuple[torch.Tensor, torch.Tensor]] = []

    def add(self, keys: list[bytes] | None, tokens: TokenLogps) -> None:
        if keys is None:  # a call for the company of other ranks
            return
        self.keys += keys
        by_row = [values.view(self.store.responses, -1).T for values in (sums(tokens), tokens.lengths)]
        self.values.append((by_row[0], by_row[1]))
        if time.monotonic() - self.last >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.keys:
            logps, lengths = (torch.cat(parts).cpu() for parts in zip(*self.values, strict=True))
            self.store.add(self.keys, logps, lengths)
        self.keys, self.values, self.last = [], [], time.monotonic()
