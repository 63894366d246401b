# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What goes into a rollout and what comes out of it, whoever generates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        max_new_tokens: most tokens of a completion, its end token included.
        temperature: logits are divided by it, for sampling and in every log-probability.
        top_p, top_k: nucleus and number of tokens sampled from; 1 and 0 leave the distribution whole.
        greedy: take the likeliest token, as an evaluation does.
        min_new_tokens: no end token before that many.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    greedy: bool = False
    min_new_tokens: int = 0

    def greedily(self) -> Sampling:
        """The same limits without drawing."""
        return replace(self, greedy=True, top_p=1.0, top_k=0)


@dataclass(frozen=True)
class Completion:
    """One answer of the policy.

    Attributes:
        token_ids: tokens up to and including the end token.
        logps: log-probability of each, of the distribution `softmax(logits / temperature)` over the whole vocabulary.
        finish_reason: `stop` at an end token, `length` at `max_new_tokens`.
        version: of the weights that generated it, counted in optimizer steps.
    """

    token_ids: list[int]
    logps: list[float]
    finish_reason: Literal["stop", "length"]
    version: int


class Rollout(Protocol):
    """A back-end. Rows are tokenized prompts as the run's collator takes them."""

    def take(self, version: int) -> None:
        """Generate with the policy's weights of now, of that version, from here on. All ranks call it together."""
        ...

    def generate(
        self, rows: Sequence[Mapping[str, Any]], count: int, sampling: Sampling, version: int, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """`count` completions of each row, in the order of the rows; `seeds`: one a row."""
        ...

    def close(self) -> None:
        """Leave nothing behind; all ranks call it together."""
        ...
