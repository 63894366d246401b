# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One pass of the reference model over the rows whose log-probabilities are not on disk yet.

Each rank takes every n-th row and batch, writes shards of its own, and makes as many calls as the
others, because under ZeRO-3 and DDP every call is a meeting of all ranks.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from llamafactory.extras import logging
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..arguments.speedups import asked_speedups
from ..forward.cache import ReferenceStore
from ..forward.call import Forward, capabilities
from ..forward.fingerprint import KEYED_COLUMNS, row_key
from ..forward.result import TokenLogps, sums
from ..forward.selftest import SelfTest
from ..rows.collate import describe_rows
from ..rows.fields import SCORE_FIELDS
from .speedups import computes_in_half, must_fit

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

FLUSH_SECONDS = 60.0  # the most work that a kill can cost a rank


class Row(NamedTuple):
    """Where a row is: its key, the number of its data set, its place there, and its tokens in both responses."""

    key: bytes
    dataset: int
    place: int
    tokens: int


def keyed_rows(datasets: Sequence[Any], rank: int, world: int) -> list[Row]:
    """The rows of all data sets, on every rank alike; each rank reads its part of the media.

    Raises:
        ValueError: a row's media cannot be read; names the row.
    """
    mine = []
    for number, dataset in enumerate(datasets):
        view = dataset.select_columns([name for name in KEYED_COLUMNS if name in dataset.column_names])
        for place in range(rank, len(view), world):
            row = view[place]
            tokens = len(row["chosen_input_ids"]) + len(row["rejected_input_ids"])
            mine.append(Row(key_of(row, dataset, place), number, place, tokens))
    return gather_object(mine)


def key_of(row: dict[str, Any], dataset: Any = None, place: int | None = None) -> bytes:
    """`row_key`, with the row's name in an error; `dataset` and `place` tell it if the row does not carry it."""
    try:
        return row_key(row)
    except (OSError, ValueError) as error:
        named = row if dataset is None else dataset[place]
        raise ValueError(f"Cannot read the media of {describe_rows([named])} ({error}).") from error


def missing_rows(rows: Sequence[Row], store: ReferenceStore) -> list[Row]:
    """Those that the store lacks, each key once, the longest first: what does not fit into memory fails at once."""
    lacking = {row.key: row for row in rows if row.key not in store}
    return sorted(lacking.values(), key=lambda row: (-row.tokens, row.key))


def fill(
    trainer: Any, model: Any, store: ReferenceStore, datasets: Sequence[Any], rows: list[Row], collator: Any
) -> None:
    """Compute `rows` with `model`, the reference as the trainer's accelerator has prepared it, and store them."""
    args, began = trainer.args, time.monotonic()
    size = args.per_device_train_batch_size
    batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    world, rank = args.world_size, args.process_index
    mine = batches[rank::world]
    surplus = len(mine) < len(batches[::world])  # one call more, so that no other rank waits for this one
    loader = DataLoader(
        _Places(datasets),
        batch_sampler=mine + batches[:1] * surplus,
        collate_fn=collator,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
    )
    if args.should_save:
        store.begin()
    trainer.accelerator.wait_for_everyone()
    inner = trainer.accelerator.unwrap_model(model)
    call = _Call(model, inner, asked_speedups(trainer.finetuning_args.pref_speedups), trainer)
    writer = _Writer(store)
    with _evaluating(inner, trainer.accelerator.device):
        progress = tqdm(loader, "Reference log-probs", disable=args.disable_tqdm or not args.should_log)
        for batch, keys in zip(progress, [[row.key for row in part] for part in mine] + [None] * surplus, strict=True):
            writer.add(keys, call(trainer._prepare_inputs(batch)))
    writer.flush()
    trainer.accelerator.wait_for_everyone()
    store.reload()
    seconds = time.monotonic() - began
    logger.info_rank0(
        f"Reference log-probs: {len(rows)} rows computed in {seconds:.1f} s ({len(rows) / seconds:.1f} rows/s)."
    )


class _Places(torch.utils.data.Dataset):
    """Rows by where they are."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = datasets

    def __getitem__(self, row: Row) -> dict[str, Any]:
        return self.datasets[row.dataset][row.place]


class _Call:
    """The reference on a batch, with the speed-ups of the recipe that agree with the plain path on the first one."""

    def __init__(self, model: Any, inner: Any, asked: frozenset[str], trainer: Any) -> None:
        self.model, self.inner, self.trainer = model, inner, trainer
        self.candidates = asked - set(capabilities(inner))
        self.forward: Forward | None = None

    def __call__(self, batch: dict[str, Any]) -> TokenLogps:
        inputs = {name: value for name, value in batch.items() if name not in SCORE_FIELDS}
        if self.forward is None:
            self.forward = self._choose(inputs)
            self.forward.feature_cache = self.trainer.feature_cache
        return self._run(self.forward, inputs)

    def _run(self, forward: Forward, inputs: dict[str, Any]) -> TokenLogps:
        return Forward.call(self.model, self.inner, forward.prepare(inputs, self.inner))

    def _choose(self, inputs: dict[str, Any]) -> Forward:
        if not self.candidates:
            return Forward(())

        def run(on: Collection[str]) -> tuple[TokenLogps, None]:
            return self._run(Forward(on, always=True), inputs), None

        half, needs = computes_in_half(self.trainer, self.inner), must_fit(self.trainer, inputs, self.inner)
        verdict = SelfTest(run, [], half, self.trainer.accelerator.device, needs).choose(self.candidates)
        for name, why in verdict.failed.items():
            logger.warning_rank0(f"pref_speedups: {name} is off in the pass of the reference: {why}.")
        return Forward(verdict.on)


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
        self.values.append((sums(tokens).view(2, -1).T, tokens.lengths.view(2, -1).T))
        if time.monotonic() - self.last >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.keys:
            logps, lengths = (torch.cat(parts).cpu() for parts in zip(*self.values, strict=True))
            self.store.add(self.keys, logps, lengths)
        self.keys, self.values, self.last = [], [], time.monotonic()


@contextmanager
def _evaluating(model: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """No graph, no dropout, and random numbers go on afterwards as if nothing had been."""
    modes = {module: module.training for module in model.modules()}
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
