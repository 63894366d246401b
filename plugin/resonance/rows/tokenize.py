# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows room: aligned row -> token ids, by LlamaFactory's own processor, with scores and origin beside them."""

from __future__ import annotations

from typing import Any

from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor

from .fields import ALIGNED_SCORES, ROW, SCORE_FIELDS, SOURCE

KEPT = {SOURCE: SOURCE, ROW: ROW, **dict(zip(ALIGNED_SCORES, SCORE_FIELDS, strict=True))}


class PreferenceDatasetProcessor(PairwiseDatasetProcessor):
    """Tokenize pairs; what belongs to a row stays with it even if the base class drops a neighbour."""

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Tokenize a batch of aligned rows, one at a time.

        Raises:
            ValueError: if a row cannot be encoded (for example an image that ends early); names source and row.
        """
        outputs: dict[str, list[Any]] = {}
        for i in range(len(examples["_prompt"])):
            example = {name: [values[i]] for name, values in examples.items()}
            try:
                encoded = super().preprocess_dataset(example)
            except Exception as error:
                where = f"{examples[SOURCE][i]}, row {examples[ROW][i]}"
                raise ValueError(f"{where}: cannot be tokenized ({type(error).__name__}: {error}).") from error
            if not encoded:  # the base class has said why it dropped the row
                continue
            for name, values in encoded.items():
                outputs.setdefault(name, []).extend(values)
            for aligned_name, name in KEPT.items():
                if aligned_name in examples:
                    outputs.setdefault(name, []).append(examples[aligned_name][i])
        return outputs
