# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""In which order a run takes its pairs: by scores, by length, those of a prompt in a batch, or as it comes.

Transformers' own sampler groups by length (`train_sampling_strategy: group_by_length`, before
Transformers 5 `group_by_length: true`). It cannot tell how long a pair is, and stops at one: this can. For prompts see
`prompt_order.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
import torch
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler
from typing_extensions import override

from ..arguments.curriculum import Order
from ..arguments.grouping import asked_grouping
from ..rows.fields import SCORE_FIELDS
from .prompt_order import PromptOrder

GROUPED = "group_by_length"
_ROWS = 1000  # of a set that are looked at together
_IGNORED = -100  # label of a token that is no response token


def groups_by_length(args: Any) -> bool:
    """Whether training arguments ask for it, in any spelling that a Transformers knows."""
    return getattr(args, GROUPED, False) or getattr(args, "train_sampling_strategy", None) == GROUPED


def with_lengths(dataset: Any, args: Any, shared: Callable[[], bool]) -> Any:
    """What the Trainer is to make a sampler for: `dataset`, or its rows with nothing but the length that it looks up.

    Args:
        dataset: of tokenized pairs. One that has the column `length_column_name`, or is a stream, is left as it is.
        args: training arguments.
        shared: tells whether the model reads `[prompt | chosen | rejected]`; else the longer of two rows counts.
    """
    if not groups_by_length(args) or not isinstance(dataset, datasets.Dataset):
        return dataset
    name = args.length_column_name
    if name in dataset.column_names:
        return dataset
    return datasets.Dataset.from_dict({name: lengths(dataset, shared())})


def lengths(dataset: datasets.Dataset, shared: bool) -> list[int]:
    """Tokens of each pair: prompt and both responses if `shared`, else the longer row. Reads no media."""
    columns = dataset.select_columns(["chosen_input_ids", "rejected_input_ids", "rejected_labels"])
    found: list[np.ndarray] = []
    for table in columns.with_format("arrow").iter(_ROWS):
        chosen, rejected = (pc.list_value_length(table[name]).to_numpy() for name in columns.column_names[:2])
        found.append(chosen + _responses(table["rejected_labels"]) if shared else np.maximum(chosen, rejected))
    return np.concatenate(found).tolist() if found else []


def _responses(labels: Any) -> np.ndarray:
    """Response tokens of each row."""
    owner, label = pc.list_parent_indices(labels).to_numpy(), pc.list_flatten(labels).to_numpy()
    return np.bincount(owner[label != _IGNORED], minlength=len(labels))


class GroupedSampler(LengthGroupedSampler):
    """Transformers' order by length, drawn from the seed and the number of the epoch alone.

    So it is the same on all ranks and after a resume, and takes no random numbers from the training.

    Args:
        sampler: whose lengths these are.
        batch: pairs of an optimizer step on all ranks, so that ranks and accumulation are exchangeable.
        seed: of the run.
        epoch: tells which epoch begins.
    """

    def __init__(self, sampler: LengthGroupedSampler, batch: int, seed: int, epoch: Callable[[], int]) -> None:
        super().__init__(batch, lengths=list(sampler.lengths), generator=torch.Generator())
        self._seed, self._epoch = seed, epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self._seed + self._epoch())
        return super().__iter__()


def seeded(sampler: Any, args: Any, epoch: Callable[[], int]) -> Any:
    """`sampler` as a GroupedSampler if it groups by length, else as it is. `args`: training arguments."""
    if not isinstance(sampler, LengthGroupedSampler):
        return sampler
    seed = args.seed if args.data_seed is None else args.data_seed
    return GroupedSampler(sampler, sampler.batch_size * args.world_size, seed, epoch)


def by_scores(dataset: datasets.Dataset, order: Order) -> list[int]:
    """The rows of a set by the difference of their scores; those of equal ones as they come.

    The order of every epoch, and a sampler as it is: the same on all ranks and after a resume.
    """
    chosen, rejected = (np.asarray(dataset.select_columns([name])[:][name]) for name in SCORE_FIELDS)
    margins = chosen - rejected if order == "ascending" else rejected - chosen
    return margins.argsort(kind="stable").tolist()


class GroupingTrainer(Trainer):
    """A Trainer of pairs, with an engine, that knows their scores, their lengths and which answer the same prompt."""

    @override
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        if self.finetuning_args.score_order is not None:
            return by_scores(rows, self.finetuning_args.score_order)
        sampler = super()._get_train_sampler(with_lengths(rows, self.args, self.engine.may_share))
        asked = asked_grouping(self.finetuning_args.group_prompts)
        prompts = PromptOrder(asked, self.engine.may_share(), self._train_batch_size, self.args.data_seed)
        return prompts.sampler(seeded(sampler, self.args, self._epoch), rows, self._epoch)

    def _epoch(self) -> int:
        return int(self.state.epoch or 0)

    @override
    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        sampler = super()._get_eval_sampler(with_lengths(eval_dataset, self.args, self.engine.may_share))
        return seeded(sampler, self.args, lambda: 0)
