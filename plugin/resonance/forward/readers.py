# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What can be read of the output head for each response token, and the one pass over logits that reads it.

| reader | columns | gradient |
|---|---|---|
| `Logp` | `logp` | yes |
| `Entropy` | `entropy` | yes |
| `Value` | `value` | yes |
| `MeanLogit` | `mean_logit` | no |
| `TopK` | `topk_logps`, `topk_ids` | no |

Pure functions of tensors; where the logits come from is `head.py`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

_CHUNK_BYTES = 1 << 26  # of float32 work at a time
# exp of it is 0 in every floating type, so that a token of probability 0 adds 0 to sums of p * log p, not 0 * -inf
_LOWEST = -1e4


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
class Value:
    """What a value head makes of the hidden state that predicts the response token.

    The head is a module inside the model, (N, H) -> (N, 1) or (N,), put there before the model is wrapped, so that
    DDP, ZeRO and the optimizer know it. It is computed in the precision of its weights, also under autocast.

    Attributes:
        name: attribute of the model that holds it, dotted if it is further down.
    """

    name: str = "value_head"


def _check_temperature(given: float) -> None:
    if not (math.isfinite(given) and given > 0):
        raise ValueError(f"temperature={given!r} is not allowed, it must be a finite number > 0.")


Reader = Logp | Entropy | TopK | MeanLogit | Value
DEFAULT: tuple[Reader, ...] = (Logp(), MeanLogit())  # what preference losses and their log lines read


@dataclass(frozen=True)
class Asked:
    """The readers of one call, checked.

    Attributes:
        temperature: of all of them.
        logp, entropy, mean_logit: whether they are read.
        k: of `TopK`, 0 if it is not read.
        value: name of the value head, None if it is not read.
    """

    temperature: float
    logp: bool
    entropy: bool
    mean_logit: bool
    k: int
    value: str | None

    @classmethod
    def of(cls, readers: Sequence[Reader], vocabulary: int) -> Asked:
        """Check readers for a model with that many tokens.

        Raises:
            ValueError: two of a kind, several temperatures, or more than `vocabulary` likeliest tokens.
        """
        by_kind = {type(reader): reader for reader in readers}
        if len(by_kind) != len(readers) or not readers:
            raise ValueError(f"readers={list(readers)}: give at least one, and each kind at most once a call.")
        temperatures = {reader.temperature for reader in readers if isinstance(reader, Logp | Entropy | TopK)}
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
            k=k,
            value=value.name if isinstance(value, Value) else None,
        )

    @property
    def logits(self) -> bool:
        """Whether anything is read of the logits."""
        return self.logp or self.entropy or self.mean_logit or self.k > 0


class Columns(NamedTuple):
    """What was read of N rows of logits, (N,) each, (N, k) of the last two; None where it was not asked for."""

    logp: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    mean_logit: torch.Tensor | None = None
    topk_logps: torch.Tensor | None = None
    topk_ids: torch.Tensor | None = None


def read(logits: torch.Tensor, targets: torch.Tensor, asked: Asked) -> Columns:
    """Read logits (N, V) of any floating type, a few rows at a time: no float32 copy of all of them is ever made.

    The backward computes the softmax of a few rows again, once for log-probabilities and entropies together.
    """
    return Columns(*_Read.apply(logits, targets, asked))


def read_plainly(logits: torch.Tensor, targets: torch.Tensor, asked: Asked) -> Columns:
    """The same in plain torch, all rows at once: what `read` is compared with when a run begins."""
    logits = wide(logits)
    logps = _tempered(logits, asked.temperature).log_softmax(-1)
    top = logps.detach().topk(asked.k) if asked.k else (None, None)
    entropy = -(logps.exp() * logps.clamp(min=_LOWEST)).sum(-1) if asked.entropy else None
    return Columns(
        logps.gather(1, targets[:, None]).squeeze(1) if asked.logp else None,
        entropy,
        logits.detach().mean(-1) if asked.mean_logit else None,
        *top,
    )


def read_in_pieces(
    head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, targets: torch.Tensor, size: int, asked: Asked
) -> Columns:
    """Read what `head` makes of hidden states (N, H), `size` rows at a time, and again in the backward."""

    def piece(hidden: torch.Tensor, targets: torch.Tensor) -> Columns:
        return read(head(hidden), targets, asked)

    pairs = zip(hidden.split(size), targets.split(size), strict=True)
    if torch.is_grad_enabled():
        return _join([checkpoint(piece, *pair, use_reentrant=False) for pair in pairs])
    return _join([piece(*pair) for pair in pairs])


class _Read(torch.autograd.Function):
    """`Columns` of logits; gradients of the first two."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor, asked: Asked) -> Columns:
        ctx.set_materialize_grads(False)
        parts = []
        for rows in _chunks(logits):
            raw = wide(logits[rows])
            logps = _tempered(raw, asked.temperature).log_softmax(-1)
            mean = raw.mean(-1) if asked.mean_logit else None
            logp = logps.gather(1, targets[rows, None]).squeeze(1) if asked.logp else None
            top = logps.topk(asked.k) if asked.k else (None, None)
            entropy = -(logps.exp() * logps.clamp_(min=_LOWEST)).sum(-1) if asked.entropy else None
            parts.append(Columns(logp, entropy, mean, *top))
        found = _join(parts)
        ctx.asked = asked
        ctx.save_for_backward(logits, targets, found.entropy)
        ctx.mark_non_differentiable(*(column for column in found[2:] if column is not None))
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, None, None]:
        logits, targets, entropies = ctx.saved_tensors
        if grads[0] is None and grads[1] is None:
            return None, None, None
        by_logp, by_entropy = (None if grad is None else grad / ctx.asked.temperature for grad in grads[:2])
        if by_logp is None:
            by_logp = torch.zeros_like(targets, dtype=wide(logits).dtype)
        result = torch.empty_like(logits)
        for rows in _chunks(logits):
            z = _tempered(wide(logits[rows]), ctx.asked.temperature)
            at = torch.arange(len(z), device=z.device), targets[rows]
            if by_entropy is None:
                slope = z.softmax(-1).neg_()  # d log p_t / dz = 1_t - p
                slope[at] += 1.0
                slope.mul_(by_logp[rows, None])
            else:
                logps = z.log_softmax(-1)
                slope = logps.exp().neg_()  # and d H / dz = -p * (log p + H)
                logps.clamp_(min=_LOWEST).add_(entropies[rows, None]).mul_(by_entropy[rows, None])
                slope.mul_(logps.add_(by_logp[rows, None]))
                slope[at] += by_logp[rows]
            result[rows] = slope
        return result, None, None


def wide(values: torch.Tensor) -> torch.Tensor:
    """In float32, if they are not wider."""
    return values.float() if values.dtype.itemsize < 4 else values


def _tempered(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    return logits if temperature == 1 else logits / temperature


def _chunks(logits: torch.Tensor) -> Iterator[slice]:
    """Rows whose float32 copy is worked on at a time."""
    size = max(1, _CHUNK_BYTES // (4 * logits.shape[-1]))
    return (slice(start, start + size) for start in range(0, max(1, len(logits)), size))


def _join(parts: Sequence[Columns]) -> Columns:
    """Columns of all rows from those of a few rows each."""
    return Columns(*(None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)))
