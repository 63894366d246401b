# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a model is called with, and which of its hidden states predicts which response token.

A batch is R rows padded to L tokens, with `labels` of -100 where there is no loss: LlamaFactory's pairs (the chosen
responses, then the rejected ones), or any number of responses to each of any number of prompts, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from .media import Encoded
from .segments import Segments

PER_TOKEN = ("input_ids", "position_ids", "token_type_ids")
# replaced, or unused once positions are given
NOT_SHARED = ("attention_mask", "labels", "rope_deltas")


@dataclass(frozen=True)
class Layout:
    """What the model is called with, and for each of N response tokens where its prediction is found.

    `positions`: (N,) index into the model's hidden states, flattened over rows and columns. `targets`: (N,) token ids.
    `owners`: (M,) index into the flattened result of `shape` (R, L-1). `sources`: (M,) which of the N predictions
    that is, or None if M is N in the same order; rows with equal responses to a prompt share theirs. `segments`: None
    if the rows are the batch's. `encoded`: by kind, how the pictures of `inputs` are read; a kind is absent if they
    are in `inputs` as often as they are shown.
    """

    inputs: dict[str, Any]
    positions: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor
    shape: tuple[int, int]
    sources: torch.Tensor | None = None
    segments: Segments | None = None
    encoded: dict[str, Encoded] = field(default_factory=dict)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """(N, ...) -> (M, ...): a value for each response token of the batch."""
        return values if self.sources is None else values[self.sources]
