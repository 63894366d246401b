# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Attention over long shared rows without their S x S mask: each continuation attends to the prompt and to itself.

Room: `forward/`. Registered with Transformers beside SDPA and chosen in the model's configuration once, for good:
gradient checkpointing reads the configuration again in the backward, so an implementation that is set for the forward
alone gives the right loss and a wrong gradient. Calls without segments are SDPA's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .layout import Segments
from .masks import FULL, windows

NAME = "resonance_sdpa"
SEGMENTS = "resonance_segments"  # keyword argument with `Segments.ends`, which the models hand on to their layers
LONG = 4096  # tokens a row from which this pays: below, one masked call is as fast and its mask is small


def install(model: Any) -> None:
    """Let the language model of `model` use split attention where it uses SDPA on all tokens. Idempotent."""
    config = model.config
    text = config.get_text_config()
    if text._attn_implementation != "sdpa" or set(windows(config)) != {FULL}:
        return
    ALL_ATTENTION_FUNCTIONS.register(NAME, split_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    text._attn_implementation = NAME


def arguments(model: Any, segments: Segments) -> dict[str, Any] | None:
    """What to call `model` with instead of a mask, or None if these rows or this model take a mask."""
    if segments.segment.shape[1] < LONG or model.config.get_text_config()._attn_implementation != NAME:
        return None
    nothing = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=segments.segment.device)  # a mask made already is kept
    return {"attention_mask": nothing, SEGMENTS: segments.ends}


def split_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA on (B, heads, S, d), gives (B, S, heads, d); with segments, each continuation follows the prompt alone."""
    ends = kwargs.pop(SEGMENTS, None)
    if ends is None:
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **kwargs)
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
    options = {"scale": kwargs.get("scaling"), "dropout_p": kwargs.get("dropout", 0.0)}
    rows = [_row(query[i], key[i], value[i], row, options) for i, row in enumerate(ends)]
    return torch.stack(rows).transpose(1, 2).contiguous(), None


def _row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, ends: list[int], options: dict[str, Any]
) -> torch.Tensor:
    prompt, first = ends[0], ends[1]
    # the prompt and the first continuation are one ordinary causal row
    parts = [
        F.scaled_dot_product_attention(query[:, :first], key[:, :first], value[:, :first], is_causal=True, **options)
    ]
    for start, stop in zip(ends[1:], ends[2:], strict=False):
        keys, values = (torch.cat((t[:, :prompt], t[:, start:stop]), 1) for t in (key, value))
        size = stop - start
        earlier = torch.ones(size, prompt + size, dtype=torch.bool, device=query.device).tril(prompt)
        parts.append(F.scaled_dot_product_attention(query[:, start:stop], keys, values, attn_mask=earlier, **options))
    parts.append(torch.zeros_like(query[:, ends[-1] :]))  # padding, and pictures that nobody attends to
    return torch.cat(parts, 1)
