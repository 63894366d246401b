# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The output head on the positions that predict response tokens, instead of on every token of prompt and padding.

The model's own head module is called once, by the model, so whatever is hooked to it stays in force
(LoRA on the head, modules to save, quantised weights, weights that DeepSpeed gathers for the call). What it returns is
the log-probabilities in the place of the logits, so that they travel through the model's output, to which DDP and
FSDP attach their hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from .layout import Layout

LOGITS_BYTES = 1 << 30  # logits of the response rows larger than this are made in pieces, and again in the backward
_CHUNK_BYTES = 1 << 26  # of float32 work at a time
# Configurations that transform logits after the head: there the head returns logits of the response rows.
_AFTER_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "logits_scale")


class _TokenLogp(torch.autograd.Function):
    """log_softmax(logits)[target] in float32, a few rows at a time: no float32 copy of all logits is ever made."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits, targets)
        pairs = zip(logits.split(_rows(logits)), targets.split(_rows(logits)), strict=True)
        return torch.cat(
            [part.float().log_softmax(-1).gather(1, target[:, None]).squeeze(1) for part, target in pairs]
        )

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, targets = ctx.saved_tensors
        result, size = torch.empty_like(logits), _rows(logits)
        for start in range(0, len(logits), size):
            rows = slice(start, start + size)
            weights = logits[rows].float().softmax(-1).neg_()
            weights[torch.arange(len(weights), device=logits.device), targets[rows]] += 1.0
            result[rows] = weights.mul_(grads[0][rows, None])
        return result, None


def _rows(logits: torch.Tensor) -> int:
    """Rows whose float32 copy is worked on at a time."""
    return max(1, _CHUNK_BYTES // (4 * logits.shape[-1]))


def token_logps(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of each target, (N,) float32, from logits (N, V) of any floating type and targets (N,)."""
    return _TokenLogp.apply(logits, targets)


def keeps_logits(config: Any) -> bool:
    """Whether the model does something to the logits between its head and its output."""
    text = config.get_text_config()
    return any(getattr(c, name, None) not in (None, 1, 1.0) for c in (config, text) for name in _AFTER_HEAD)


def row_means(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Mean over the response tokens of each row of the batch: (N, ...) -> (R, ...), float32, detached."""
    values, rows = layout.spread(values.detach()).float(), layout.owners // layout.shape[1]
    total = values.new_zeros(layout.shape[0], *values.shape[1:]).index_add_(0, rows, values)
    count = values.new_zeros(layout.shape[0]).index_add_(0, rows, torch.ones_like(rows, dtype=values.dtype))
    return total / count.clamp(min=1).view(-1, *[1] * (values.ndim - 1))


@contextmanager
def on_response_rows(model: Any, layout: Layout, budget: int = LOGITS_BYTES) -> Iterator[Callable[[], int]]:
    """Within it, the head of `model` works on the N rows of `layout`; yields how often it has been called.

    The model's `logits` are then (1, N + R, 1): N log-probabilities, and the mean logits of each row, which
    for a linear head are those of the mean hidden state; or (1, N, V) if `keeps_logits`.
    """
    head, vocabulary = model.get_output_embeddings(), model.config.get_text_config().vocab_size
    before, original, calls = vars(head).get("forward"), head.forward, 0

    def forward(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        rows = hidden.reshape(-1, hidden.shape[-1])[layout.positions]
        if keeps_logits(model.config):
            return original(rows, *args, **kwargs)[None]
        means = row_means(rows, layout).to(rows.dtype)
        if len(rows) * vocabulary * rows.element_size() <= budget:
            logits = original(torch.cat((rows, means)), *args, **kwargs)
            logps = token_logps(logits[: len(rows)], layout.targets)
            mean_logits = logits[len(rows) :].detach().float().mean(-1)
        else:
            logps = _in_pieces(original, rows, layout.targets, max(1, budget // (vocabulary * rows.element_size())))
            with torch.no_grad():
                mean_logits = original(means).float().mean(-1)
        return torch.cat((logps, mean_logits))[None, :, None]

    head.forward = forward
    try:
        yield lambda: calls
    finally:
        if before is None:
            del head.forward
        else:
            head.forward = before


def _in_pieces(head: Callable[..., Any], rows: torch.Tensor, targets: torch.Tensor, size: int) -> torch.Tensor:
    def piece(rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return token_logps(head(rows), targets)

    pairs = zip(rows.split(size), targets.split(size), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([piece(*pair) for pair in pairs])
    return torch.cat([checkpoint(piece, *pair, use_reentrant=False) for pair in pairs])
