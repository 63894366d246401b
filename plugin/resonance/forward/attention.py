# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Attention over shared rows by pieces, without a mask of S x S: a prompt and its continuations, each to the prompt.

For long rows, and for packed ones, where most of such a mask would be false. Registered with
Transformers beside SDPA and chosen in the model's configuration once, for good: gradient checkpointing reads the
configuration again in the backward, so an implementation that is set for the forward alone gives the right loss and a
wrong gradient. Calls without pieces are SDPA's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from . import varlen
from .layout import Segments
from .masks import FULL, TWO_WAY_PICTURES, no_mask, windows

NAME = "resonance_sdpa"
PIECES = "resonance_sdpa_pieces"  # keyword argument with `Segments.pieces`, which the models hand on to their layers
LONG = 4096  # tokens a row from which this pays in rows of one prompt: below, a masked call is as fast, its mask small


def cannot_split(model: Any) -> str | None:
    """Why attention of `model` cannot be computed by pieces, or None if it can.

    Raises:
        CannotShareError: it has layers whose rule is not known here.
    """
    if varlen.serves(model):
        return None
    implementation = model.config.get_text_config()._attn_implementation
    if implementation not in ("sdpa", NAME):
        return f"attention {implementation} is not computed by pieces"
    if set(windows(model.config)) != {FULL}:
        return "sliding windows take a mask, which is as large as all rows together"
    if model.config.model_type in TWO_WAY_PICTURES:
        return "pictures that see themselves in both directions take a mask"
    return None


def install(model: Any) -> None:
    """Let the language model of `model` use split attention if it can. Idempotent."""
    if not varlen.serves(model) and cannot_split(model) is None:
        ALL_ATTENTION_FUNCTIONS.register(NAME, split_attention)
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
        model.config.get_text_config()._attn_implementation = NAME


def arguments(model: Any, segments: Segments) -> dict[str, Any] | None:
    """What to call `model` with instead of a mask, or None if these rows or this model take a mask."""
    if varlen.serves(model):
        return varlen.arguments(segments)
    if model.config.get_text_config()._attn_implementation != NAME:
        if segments.packed:
            raise RuntimeError(f"packed rows, but the attention of {type(model).__name__} is not {NAME}")
        return None
    if not segments.packed and segments.segment.shape[1] < LONG:
        return None
    return {"attention_mask": no_mask(segments.segment.device), PIECES: segments.pieces}


def split_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA on (R, heads, S, d), gives (R, S, heads, d), by pieces if the call has them; zeros outside the pieces."""
    pieces = kwargs.pop(PIECES, None)
    if pieces is None:
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **kwargs)
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
    options = {"scale": kwargs.get("scaling"), "dropout_p": kwargs.get("dropout", 0.0)}
    rows, heads, size, width = query.shape
    parts, at = [], 0

    def nothing(until: int) -> torch.Tensor:  # padding, and pictures that nobody attends to
        return query.new_zeros(1, until - at, heads, width)

    for piece in pieces:
        row, start = divmod(piece[0], size)
        ends = [start + end - piece[0] for end in piece]
        q, k, v = (t[row : row + 1] for t in (query, key, value))
        parts += [nothing(piece[0]), *(part.transpose(1, 2) for part in _piece(q, k, v, ends, options))]
        at = piece[-1]
    parts.append(nothing(rows * size))
    return torch.cat(parts, 1).view(rows, size, heads, width), None


def _piece(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, ends: list[int], options: dict[str, Any]
) -> list[torch.Tensor]:
    """Outputs of a prompt with its continuations, (1, heads, n, d) each; `ends`: its places in the row.

    Four dimensions, because PyTorch has its fast kernels for no fewer.
    """
    begin, prompt, first = ends[0], ends[1], ends[min(2, len(ends) - 1)]
    # the prompt and the first continuation are one ordinary causal row
    q, k, v = (t[:, :, begin:first] for t in (query, key, value))
    parts = [F.scaled_dot_product_attention(q, k, v, is_causal=True, **options)]
    for start, stop in zip(ends[2:], ends[3:], strict=False):
        keys, values = (torch.cat((t[:, :, begin:prompt], t[:, :, start:stop]), 2) for t in (key, value))
        size = stop - start
        earlier = torch.ones(size, prompt - begin + size, dtype=torch.bool, device=query.device).tril(prompt - begin)
        parts.append(
            F.scaled_dot_product_attention(query[:, :, start:stop], keys, values, attn_mask=earlier, **options)
        )
    return parts
