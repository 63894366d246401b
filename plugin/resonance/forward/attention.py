# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Attention over shared and packed rows without a mask of S x S: who does it, and how a model is called for that.

Registered with Transformers beside SDPA and chosen in the model's configuration once, for good: gradient checkpointing
reads the configuration again in the backward, so an implementation that is set for the forward alone gives the right
loss and a wrong gradient. Calls without pieces are SDPA's.

* On CUDA in 16 bits: one varlen call of FlashAttention, which torch has in it, a layer (`varlen.py`).
* Elsewhere: two calls of SDPA a layer (`pieces.py`).
* Models that Transformers runs with FlashAttention: one varlen call of that a layer (`varlen.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from . import pieces, varlen
from .masks import FULL, TWO_WAY_PICTURES, no_mask, windows
from .prompts import CannotShareError
from .segments import FLASH, MASKED, SPLIT, VARLEN, Pieces

NAME = "resonance_sdpa"
PIECES = "resonance_pieces"  # keyword argument with `Pieces`, which the models hand on to their layers


def kind_of(model: Any) -> str:
    """Who attends over pieces in `model`, to the best of what can be known before it runs."""
    if varlen.serves(model):
        return FLASH
    if model.config.get_text_config()._attn_implementation not in ("sdpa", NAME):
        return MASKED
    return VARLEN if varlen.torch_has_it(model) else SPLIT


def cannot_split(model: Any) -> str | None:
    """Why attention of `model` cannot be computed by pieces, or None if it can.

    Raises:
        CannotShareError: it has layers whose rule is not known here.
    """
    kind = kind_of(model)
    if kind == MASKED:
        return f"attention {model.config.get_text_config()._attn_implementation} is not computed by pieces"
    if kind == SPLIT and set(windows(model.config)) != {FULL}:
        return "sliding windows take a mask, which is as large as all rows together"
    if kind != FLASH and model.config.model_type in TWO_WAY_PICTURES:
        return "pictures that see themselves in both directions take a mask"
    return None


def install(model: Any) -> None:
    """Let the language model of `model` use this attention if it can. Idempotent."""
    if not varlen.serves(model) and cannot_split(model) is None:
        ALL_ATTENTION_FUNCTIONS.register(NAME, split_attention)
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
        model.config.get_text_config()._attn_implementation = NAME


def arguments(model: Any, found: Pieces) -> dict[str, Any]:
    """What to call `model` with instead of a mask."""
    if varlen.serves(model):
        return {"attention_mask": no_mask(found.bundle.device), varlen.SEQUENCES: found.sequences}
    if model.config.get_text_config()._attn_implementation != NAME:
        raise RuntimeError(f"packed rows, but the attention of {type(model).__name__} is not {NAME}")
    return {"attention_mask": no_mask(found.bundle.device), PIECES: found}


def split_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA on (R, heads, S, d), gives (R, S, heads, d), by pieces if the call has them."""
    found = kwargs.pop(PIECES, None)
    scale, window = kwargs.get("scaling"), kwargs.get("sliding_window")
    if attention_mask is not None and attention_mask.is_floating_point():  # one of `masks.py`
        return pieces.call(query, key, value, attention_mask, scale).transpose(1, 2).contiguous(), None
    if found is None or not getattr(module, "is_causal", True):
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **kwargs)
    if varlen.takes(query):
        return varlen.attend(query, key, value, found.sequences, scale, window), None
    if window is not None:
        raise CannotShareError("sliding windows take a mask here")
    return pieces.attend(query, key, value, found.batches, scale), None
