# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows of KTO: an answer that is good or bad, and that of another row, which the KL divergence is estimated on.

They are tokenized as a pair of these two answers to one prompt, so all that is done with pairs is done with them: the
`chosen_` columns are of the row's own answer, the `rejected_` ones of the borrowed one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .encode import PairEncoder, PairIds
from .fields import own_answer
from .tokenize import PreferenceDatasetProcessor
from .types import Batch, Row


class FeedbackEncoder(PairEncoder):
    """Encode a row with its own answer alone: whether it is too long the borrowed one does not decide.

    Attributes:
        borrowed: token ids of the borrowed answer of the last row.
    """

    borrowed: list[int]

    def __call__(self, row: Row) -> PairIds:
        """Encode one row, whose `_response` is the own answer, then the borrowed one."""
        ids = super().__call__(row)
        self.borrowed = ids.rejected
        return replace(ids, rejected=[])


class FeedbackDatasetProcessor(PreferenceDatasetProcessor):
    """Tokenize judged answers; each borrows that of the row before it in the batch, as in LlamaFactory."""

    def make_encoder(self) -> FeedbackEncoder:
        """Of judged answers."""
        return FeedbackEncoder(self.template, self.tokenizer, self.processor)

    def _encode_data_example(self, *args: Any, **kwargs: Any) -> tuple[list[int], list[int], list[int], list[int]]:
        """As for pairs; the borrowed answer is cut to the room that the prompt leaves it."""
        super()._encode_data_example(*args, **kwargs)
        ids, encoder = self.fitted.ids, self.policy.encoder
        assert isinstance(encoder, FeedbackEncoder)
        room = max(self.policy.limits.cutoff_len - len(ids.prompt), 1)
        most = min(room, self.policy.limits.max_target_length or room)
        return replace(ids, rejected=encoder.borrowed[:most]).model_inputs()

    def preprocess_dataset(self, examples: Batch) -> Batch:
        """Tokenize a batch of aligned rows.

        Raises:
            ValueError: if a row cannot be encoded; names source and row.
        """
        own = [own_answer(response) for response in examples["_response"]]
        pairs = [list(pair) for pair in zip(own, own[-1:] + own[:-1], strict=True)]
        return super().preprocess_dataset({**examples, "_response": pairs})

    def print_data_example(self, example: Row) -> None:
        """Print a tokenized row as LlamaFactory does, the answers by what they are."""
        for name, side in (("own answer", "chosen"), ("answer of another row", "rejected")):
            ids = example[f"{side}_input_ids"]
            print(f"{name}, input_ids:\n{ids}")  # noqa: T201 (as upstream)
            print(f"{name}, inputs:\n{self.tokenizer.decode(ids, skip_special_tokens=False)}")  # noqa: T201
