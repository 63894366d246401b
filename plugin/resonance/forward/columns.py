# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One pass over logits that reads all that was asked for: a few rows at a time, exact, with a backward of its own.

Pure functions of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from .readers import Asked

_CHUNK_BYTES = 1 << 26  # of float32 work at a time
# exp of it is 0 in every floating type, so that a token of probability 0 adds 0 to sums of p * log p, not 0 * -inf
_LOWEST = -1e4


class Columns(NamedTuple):
    """What was read of N rows of logits, (N,) each, (N, k) of the last two; None where it was not asked for."""

    logp: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    mean_logit: torch.Tensor | None = None
    log_collision: torch.Tensor | None = None
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
        (2 * logps.detach()).logsumexp(-1) if asked.collision else None,
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
            collision = (2 * logps).logsumexp(-1) if asked.collision else None
            entropy = -(logps.exp() * logps.clamp_(min=_LOWEST)).sum(-1) if asked.entropy else None
            parts.append(Columns(logp, entropy, mean, collision, *top))
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
