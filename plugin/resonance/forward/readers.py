# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What can be read of the output head for each response token.

| reader | columns | gradient |
|---|---|---|
| `Logp` | `logp` | yes |
| `Entropy` | `entropy` | yes |
| `Value` | `value` | yes |
| `MeanLogit` | `mean_logit` | no |
| `Collision` | `log_collision` | no |
| `TopK` | `topk_logps`, `topk_ids` | no |

`columns.py` reads it, in one pass; `head.py` is where logits and hidden states come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Logp:
    """Log-probability of the response token.

    Attributes:
        temperature: of softmax(logits / temperature), > 0; one call has one, so that one softmax serves all readers.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)


@dataclass(frozen=True)
class Entropy:
    """Entropy in nats of the distribution that the response token was drawn from; `temperature` as of `Logp`."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)


@dataclass(frozen=True)
class TopK:
    """Log-probabilities and ids of the likeliest tokens, the likeliest first.

    Attributes:
        k: how many, from 1 to the size of the vocabulary.
        temperature: as of `Logp`.
    """

    k: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        if self.k < 1:
            raise ValueError(f"TopK(k={self.k}) is not allowed, k must be a whole number >= 1.")


@dataclass(frozen=True)
class MeanLogit:
    """Mean logit over the vocabulary, at temperature 1."""


@dataclass(frozen=True)
class Collision:
    """Logarithm of the chance that two draws agree, log(sum over the vocabulary of p ** 2).

    Attributes:
        temperature: as of `Logp`.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)


@dataclass(frozen=True)
class Value:
    """What a value head makes of the hidden state that predicts the response token.

    The head is a module inside the model, (N, H) -> (N, 1) or (N,), put there before the model is wrapped, so that
    DDP, ZeRO and the optimizer know it. It is computed in the precision of its weights, also under autocast.

    Attributes:
        name: attribute of the model that holds it, dotted if it is further down.
        body: attribute of the model with another body, whose hidden states the head reads; None for the model's own.
            It is called with what the model is called with, in the same forward, so that DDP and ZeRO see one call.
    """

    name: str = "value_head"
    body: str | None = None


def _check_temperature(given: float) -> None:
    if not (math.isfinite(given) and given > 0):
        raise ValueError(f"temperature={given!r} is not allowed, it must be a finite number > 0.")


Reader = Logp | Entropy | TopK | MeanLogit | Collision | Value
DEFAULT: tuple[Reader, ...] = (Logp(), MeanLogit())  # what preference losses and their log lines read


@dataclass(frozen=True)
class Asked:
    """The readers of one call, checked.

    Attributes:
        temperature: of all of them.
        logp, entropy, mean_logit, collision: whether they are read.
        k: of `TopK`, 0 if it is not read.
        value: the reader of a value head, None if it is not read.
    """

    temperature: float
    logp: bool
    entropy: bool
    mean_logit: bool
    collision: bool
    k: int
    value: Value | None

    @classmethod
    def of(cls, readers: Sequence[Reader], vocabulary: int) -> Asked:
        """Check readers for a model with that many tokens.

        Raises:
            ValueError: two of a kind, several temperatures, or more than `vocabulary` likeliest tokens.
        """
        by_kind = {type(reader): reader for reader in readers}
        if len(by_kind) != len(readers) or not readers:
            raise ValueError(f"readers={list(readers)}: give at least one, and each kind at most once a call.")
        temperatures = {
            reader.temperature for reader in readers if isinstance(reader, Logp | Entropy | Collision | TopK)
        }
        if len(temperatures) > 1:
            raise ValueError(
                f"readers={list(readers)}: one call has one temperature, found {sorted(temperatures)}; "
                "give all readers the same, or call the model once for each."
            )
        top, value = by_kind.get(TopK), by_kind.get(Value)
        k = top.k if isinstance(top, TopK) else 0
        if k > vocabulary:
            raise ValueError(f"TopK(k={k}): the vocabulary has {vocabulary} tokens; give k from 1 to {vocabulary}.")
        return cls(
            temperature=temperatures.pop() if temperatures else 1.0,
            logp=Logp in by_kind,
            entropy=Entropy in by_kind,
            mean_logit=MeanLogit in by_kind,
            collision=Collision in by_kind,
            k=k,
            value=value if isinstance(value, Value) else None,
        )

    @property
    def logits(self) -> bool:
        """Whether anything is read of the logits."""
        return self.logp or self.entropy or self.mean_logit or self.collision or self.k > 0
