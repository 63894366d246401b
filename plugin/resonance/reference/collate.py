# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A batch with the reference's log-probabilities beside it, from disk.

Rows find theirs by content: the collator hashes a row's tokens and media and looks the key up, so
a row that has changed since is an error and never a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..rows.collate import describe_rows
from .keys import named_key
from .store import ReferenceStore


@dataclass
class ReferenceCollator:
    """Any collator's batch, with one tensor a response beside it.

    Attributes:
        collator: of tokenized rows.
        store: has every row.
        columns: of numbers that rows are known by.
        fields: names of the K tensors in the batch, float32 (B,).
        means: whether they are means a token instead of sums.
    """

    collator: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    store: ReferenceStore
    columns: Sequence[str]
    fields: Sequence[str]
    means: bool

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate tokenized rows.

        Raises:
            ValueError: a row's reference log-probability is not on disk; names the row.
        """
        keys = [named_key(feature, self.columns) for feature in features]
        lacking = [row for row, key in zip(features, keys, strict=True) if key not in self.store]
        if lacking:
            raise ValueError(
                f"{self.store.folder} has no reference log-probability of {describe_rows(lacking)}: these rows or "
                "their media have changed since the run began. Start it again to compute them."
            )
        values = self.store.lookup(keys, self.means)
        return {**self.collator(features), **dict(zip(self.fields, values.unbind(1), strict=True))}
