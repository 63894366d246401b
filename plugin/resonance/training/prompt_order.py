# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs of one prompt side by side in an epoch, so that a micro-batch reads their prompt and equal answers once.

The order is LlamaFactory's own, drawn from the same seed, in which a prompt stands where its first row does and its
other rows follow, up to a micro-batch of them; the next rows of the prompt stand where the first of those does. Rows,
batches and steps of an epoch are as many as without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from accelerate.data_loader import SeedableRandomSampler
from llamafactory.extras import logging
from torch.utils.data import RandomSampler, Sampler

from .same_prompt import read_pairs, rows_of_prompts, tokens_saved

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

_PAYS = 0.1  # of all tokens, for which `group_prompts: auto` changes the order


class PromptSampler(Sampler[int]):
    """Rows that belong together one after the other, where Accelerate's order of all rows has their first.

    It follows from the seed and the number of the epoch alone, so it is the same on all ranks and after a resume.

    Args:
        together: rows that belong together, every row in one of the lists.
        data_seed: the recipe's; without one the seed that torch was given counts, as Accelerate has it.
        epoch: tells which epoch begins.
    """

    def __init__(self, together: Sequence[Sequence[int]], data_seed: int | None, epoch: Callable[[], int]) -> None:
        self._following = {rows[0]: rows for rows in together}
        self._order = SeedableRandomSampler(range(sum(map(len, together))), data_seed=data_seed)
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[int]:
        self._order.set_epoch(self._epoch())
        for row in self._order:
            yield from self._following.get(row, ())


@dataclass(frozen=True)
class PromptOrder:
    """What a run asks of the order of its rows.

    Attributes:
        asked: `group_prompts`: True, False, or None for what pays.
        shares: whether the model reads the prompt of several pairs once.
        batch: pairs of a micro-batch.
        data_seed: the recipe's, or None.
    """

    asked: bool | None
    shares: bool
    batch: int
    data_seed: int | None

    def sampler(self, given: Any, dataset: Any, epoch: Callable[[], int]) -> Any:
        """`given`, or a PromptSampler in its place; logs which, if rows share prompts.

        Args:
            given: the sampler that the Trainer has made; what is not random is left as it is.
            dataset: of tokenized pairs.
            epoch: tells which epoch begins.
        """
        wanted = self.shares if self.asked is None else self.asked
        if not wanted or not isinstance(given, RandomSampler) or not isinstance(dataset, datasets.Dataset):
            return given
        pairs = read_pairs(dataset)
        prompts = rows_of_prompts(pairs, dataset)
        if len(prompts) == len(pairs):
            return given
        together = [rows[i : i + self.batch] for rows in prompts for i in range(0, len(rows), self.batch)]
        saved = tokens_saved(pairs, together)
        groups = self.batch > 1 and (self.asked or saved >= _PAYS)
        sizes = Counter(len(rows) for rows in prompts if len(rows) > 1)
        logger.info_rank0(f"group_prompts: {self._describe(sizes, len(pairs), saved, groups)}.")
        return PromptSampler(together, self.data_seed, epoch) if groups else given

    def _describe(self, sizes: Mapping[int, int], rows: int, saved: float, groups: bool | None) -> str:
        """One line. `sizes`: prompts by how many rows they have, more than one."""
        common = max(sizes, key=lambda size: (size * sizes[size], size))
        count = sum(size * number for size, number in sizes.items())
        line = f"{count} of {rows} rows share {sum(sizes.values())} prompts, most often {common} rows one prompt; "
        if groups:
            line += f"rows of a prompt follow one another, which saves up to {saved:.0%} of the tokens"
        else:
            less = f"side by side they save {saved:.0%} of the tokens"
            line += (
                f"the order is left as it is: {less if self.batch > 1 else 'a micro-batch of one pair saves nothing'}"
            )
        if self.batch % common and (groups or self.batch == 1):
            line += f". `per_device_train_batch_size: {common}`, or a multiple of it, shares most"
        return line
