# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The log-probability of each sampled token, and tokens that are never sampled."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from transformers import LogitsProcessor

from ..forward import request

# Open and close media, beside the tokens that stand for them.
_MARKS = ("vision_start_token_id", "vision_end_token_id", "boi_token_index", "eoi_token_index")


def media_tokens(config: Any) -> list[int]:
    """Tokens that stand for media or open and close them: a sampled one has no picture behind it.

    Qwen2-VL stops at the first such token when positions are made for the next forward pass.
    """
    found = request.media_tokens(config) | {getattr(config, name, None) for name in _MARKS}
    size = config.get_text_config().vocab_size
    return sorted(token for token in found if isinstance(token, int) and token < size)


class Recorder(LogitsProcessor):
    """Keeps log p(token) under softmax(logits / temperature) while `generate` samples, and bans tokens.

    It has to come before processors that change the distribution, and holds one step's log-probabilities at a time.

    Args:
        width: tokens of a prompt, padding included.
        temperature: of the distribution that is trained.
        banned: tokens never to be sampled. They keep their share of the recorded distribution.
    """

    def __init__(self, width: int, temperature: float, banned: Collection[int]) -> None:
        self._width, self._temperature, self._banned = width, temperature, sorted(banned)
        self._last: torch.Tensor | None = None
        self._found: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._take(input_ids)
        self._last = (scores.float() / self._temperature).log_softmax(-1)
        if not self._banned:
            return scores
        index = torch.tensor(self._banned, device=scores.device)
        return scores.index_fill(1, index, float("-inf"))

    def _take(self, input_ids: torch.Tensor) -> None:
        if self._last is not None and input_ids.shape[1] == self._width + len(self._found) + 1:
            self._found.append(self._last.gather(1, input_ids[:, -1:]))

    def logps(self, sequences: torch.Tensor) -> torch.Tensor:
        """(N, T) float32 for the T new tokens of what `generate` returned; values after an end token mean nothing."""
        self._take(sequences)
        return (
            torch.cat(self._found, 1) if self._found else sequences.new_zeros(len(sequences), 0, dtype=torch.float32)
        )
