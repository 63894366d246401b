# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Aligned row -> token ids, as LlamaFactory has them, with origin and carried columns beside them.

What is too long is cut by the recipe's policy instead of LlamaFactory's, which cuts through images. A row that has to
be dropped or must stop the run is only marked here (column OVERLONG): `overlong/dataset` sees all of them.
"""

from __future__ import annotations

import json
from typing import Any

from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor

from .collate import undecodable
from .fields import CARRIED, IMAGE_SIZES, OVERLONG, ROW, SOURCE
from .fitting import FitsRows
from .overlong.policy import FittedPair
from .plan import get_plan

KEPT = {SOURCE: SOURCE, ROW: ROW, **{column.aligned: column.name for column in CARRIED}}


class PreferenceDatasetProcessor(FitsRows, PairwiseDatasetProcessor):
    """Tokenize pairs; what belongs to a row stays with it even if the base class drops a neighbour."""

    fitted: FittedPair

    def _encode_data_example(
        self, prompt: Any, response: Any, system: Any, tools: Any, images: Any, videos: Any, audios: Any
    ) -> tuple[list[int], list[int], list[int], list[int]]:
        row = {"_prompt": prompt, "_response": response, "_system": system, "_tools": tools}
        self.fitted = self.policy({**row, "_images": images, "_videos": videos, "_audios": audios})
        return self.fitted.ids.model_inputs()

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Tokenize a batch of aligned rows, one at a time.

        Raises:
            ValueError: if a row cannot be encoded (for example an image that ends early); names source and row.
        """
        outputs: dict[str, list[Any]] = {}
        shrinks = get_plan(self.data_args).overlong == "shrink_image"
        for i in range(len(examples["_prompt"])):
            example = {name: [values[i]] for name, values in examples.items()}
            try:
                encoded = super().preprocess_dataset(example)
            except Exception as error:
                where = f"{examples[SOURCE][i]}, row {examples[ROW][i]}"
                broken = undecodable([{name: values[i] for name, values in examples.items()}])
                raise ValueError(f"{where}: cannot be tokenized ({type(error).__name__}: {error}).{broken}") from error
            if not encoded:  # the base class has said why it dropped the row
                continue
            encoded[OVERLONG] = [self.fitted.overlong.dumps() if self.fitted.overlong else ""]
            if shrinks:
                encoded[IMAGE_SIZES] = [json.dumps(self.fitted.sizes) if self.fitted.sizes else ""]
            for name, values in encoded.items():
                outputs.setdefault(name, []).extend(values)
            for aligned_name, name in KEPT.items():
                if aligned_name in examples:
                    outputs.setdefault(name, []).append(examples[aligned_name][i])
        return outputs
