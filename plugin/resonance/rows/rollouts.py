# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tokenized prompts -> a batch to generate from; prompts with completions -> a batch to train on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from llamafactory.data.collator import MultiModalDataCollatorForSeq2Seq
from llamafactory.extras.constants import IGNORE_INDEX

from .collate import LaysOut, at_counted_size, describe_rows, shown_by_row
from .fields import IMAGE_SIZES, MEDIA_COLUMNS
from .images import SHOWN, reading_once
from .types import Row

_READ = (*MEDIA_COLUMNS, IMAGE_SIZES)


@dataclass
class RolloutCollator(MultiModalDataCollatorForSeq2Seq):
    """Collates prompts, alone or with completions.

    Attributes:
        lay_out: lays out batches with completions; set by a trainer.
    """

    template: Any = None
    tokenizer: Any = None
    lay_out: LaysOut | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        template = copy.copy(self.template)
        template.mm_plugin = reading_once(template.mm_plugin, self._lays_out)
        self.template = template
        self.left, self.right = copy.copy(self.tokenizer), copy.copy(self.tokenizer)
        self.left.padding_side, self.right.padding_side = "left", "right"
        self._plans = False

    def _lays_out(self) -> bool:
        return self._plans and self.lay_out is not None and self.lay_out.ready

    def prompts(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """A batch of tokenized prompts, padded on the left.

        Raises:
            ValueError: a row's media cannot be decoded; names the rows.
        """
        self.tokenizer, self._plans = self.left, False
        batch = self._collated(rows, [_feature(row, row["input_ids"], len(row["input_ids"])) for row in rows])
        batch.pop("labels")
        return batch

    def responses(self, rows: Sequence[tuple[Row, list[int]]]) -> tuple[dict[str, Any], list[int]]:
        """A batch of prompts with the tokens of a completion each, padded on the right, and where completions begin.

        Raises:
            ValueError: a row's media cannot be decoded; names the rows.
        """
        self.tokenizer, self._plans = self.right, True
        starts = [len(row["input_ids"]) for row, _ in rows]
        features = [
            _feature(row, [*row["input_ids"], *tokens], start)
            for (row, tokens), start in zip(rows, starts, strict=True)
        ]
        counts = {kind: [len(row.get(f"{kind}s") or []) for row, _ in rows] for kind in ("image", "video")}
        batch = self._collated([row for row, _ in rows], features)
        shown = batch.pop(SHOWN, None)
        if self.lay_out is not None and self.lay_out.ready:
            batch[self.lay_out.key] = self.lay_out(batch, None if shown is None else shown_by_row(shown, counts))
        return batch, starts

    def _collated(self, rows: Sequence[Row], features: list[Row]) -> dict[str, Any]:
        try:
            return dict(super().__call__([at_counted_size(feature) for feature in features]))
        except Exception as error:
            where = describe_rows(list(rows))
            raise ValueError(f"Cannot build a batch from {where} ({type(error).__name__}: {error}).") from error


def _feature(row: Row, ids: list[int], start: int) -> Row:
    """What LlamaFactory's collator takes: tokens of which those from `start` on are learned."""
    media = {name: row.get(name) or [] for name in MEDIA_COLUMNS}
    labels = [IGNORE_INDEX] * start + ids[start:]
    feature = {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels, **media}
    return {**feature, IMAGE_SIZES: row[IMAGE_SIZES]} if row.get(IMAGE_SIZES) else feature
