# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows of supervised fine-tuning: a conversation -> token ids and labels, whole, as LlamaFactory has them.

Its processor cuts a conversation at `cutoff_len`, through an image if need be. Here the recipe's `overlong` decides.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.data.processor.supervised import SupervisedDatasetProcessor

from .collate import at_counted_size, describe_rows, undecodable
from .encode import AnswerIds, PairEncoder
from .fields import IMAGE_SIZES, MEDIA_COLUMNS
from .fitting import FitsRows
from .prompts import columns_of, tokenized
from .types import Row

_MODEL_INPUTS = ("input_ids", "attention_mask", "labels", *MEDIA_COLUMNS)


class AnswerEncoder(PairEncoder):
    """Encode conversations. `data_args`: LlamaFactory's, of which labels depend on two keys."""

    def __init__(self, template: Any, tokenizer: Any, processor: Any, data_args: Any) -> None:
        super().__init__(template, tokenizer, processor)
        learned = {name: getattr(data_args, name) for name in ("train_on_prompt", "mask_history")}
        endless = SimpleNamespace(cutoff_len=sys.maxsize, **learned)
        self._llamafactory = SupervisedDatasetProcessor(template, self.tokenizer, processor, endless)

    def __call__(self, row: Row) -> AnswerIds:
        """Encode one row: ``_prompt``, ``_response`` (one message), ``_system``, ``_tools`` and media."""
        return AnswerIds.of(*self.encode(row))


class AnswerDatasetProcessor(FitsRows, SupervisedDatasetProcessor):
    """Tokenize conversations whole. One that is too long is marked, as pairs are: `overlong/dataset` sees all."""

    def make_encoder(self) -> AnswerEncoder:
        """Of conversations."""
        return AnswerEncoder(self.template, self.tokenizer, self.processor, self.data_args)

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Tokenize a batch of aligned rows.

        Raises:
            ValueError: if a row cannot be encoded; names source and row.
        """
        rows = [dict(zip(examples, values, strict=True)) for values in zip(*examples.values(), strict=True)]
        return columns_of([tokenized(row, self.policy, _inputs) for row in rows])


def _inputs(ids: Any) -> dict[str, list[int]]:
    return {"input_ids": ids.ids, "labels": ids.labels}


@dataclass
class AnswerCollator(SFTDataCollatorWith4DAttentionMask):
    """LlamaFactory's batch, with images in the sizes that their tokens were counted with."""

    def __call__(self, features: Sequence[Row]) -> dict[str, Any]:
        """Collate rows.

        Raises:
            ValueError: if a row's media cannot be decoded; names the rows.
        """
        try:
            return super().__call__([_fitted(feature) for feature in features])
        except Exception as error:
            rows = describe_rows(list(features))
            raise ValueError(
                f"Cannot build a batch from {rows} ({type(error).__name__}: {error}).{undecodable(list(features))}"
            ) from error


def _fitted(feature: Row) -> Row:
    known = {name: feature[name] for name in (*_MODEL_INPUTS, IMAGE_SIZES) if name in feature}
    fitted = at_counted_size(known)
    return {name: value for name, value in fitted.items() if name != IMAGE_SIZES}
