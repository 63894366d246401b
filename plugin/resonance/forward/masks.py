# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Who attends to whom in shared rows: to the prompt and to one's own continuation, in the order of the plain rows."""

from __future__ import annotations

from typing import Any

import torch

from .arrange import OUTSIDE, PREFIX
from .prompts import CannotShareError
from .segments import Segments

FULL, SLIDING = "full_attention", "sliding_attention"
TWO_WAY_PICTURES = ("gemma3",)  # token_type_ids 1: the tokens of a picture see each other in both directions


def windows(config: Any) -> dict[str, int | None]:
    """The kinds of attention layers of a model and the window of each, None for all tokens.

    Raises:
        CannotShareError: for layers that carry a state from token to token, or whose rule is not known here.
    """
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    window = getattr(text, "sliding_window", None)
    if kinds - {FULL, SLIDING}:
        raise CannotShareError(f"layers of type {', '.join(sorted(kinds - {FULL, SLIDING}))}")
    if not kinds:
        return {SLIDING if window else FULL: window}
    return {kind: window if kind == SLIDING else None for kind in sorted(kinds)}


def attention_masks(segments: Segments, config: Any, token_types: torch.Tensor | None) -> Any:
    """The mask of shared rows as the model's attention takes it: (B, 1, S, S), or a dict of them by kind of layer.

    Additive float32 for eager attention, and where SDPA would make that of a boolean one in every layer; else boolean
    (true: attends). Made once a batch, for policy and reference.
    """
    implementation = config.get_text_config()._attn_implementation
    key = implementation == "eager", *windows(config).items()
    if key not in segments.masks:
        segments.masks[key] = _attention_masks(segments, config, token_types, implementation == "eager")
    return segments.masks[key]


def _attention_masks(segments: Segments, config: Any, token_types: torch.Tensor | None, eager: bool) -> Any:
    visible = _visible(segments)
    pictures = _picture_blocks(token_types, config)
    distance = segments.column[:, :, None] - segments.column[:, None, :]
    itself = torch.eye(visible.shape[-1], dtype=torch.bool, device=visible.device)  # padding must see something
    additive = eager or visible.device.type == "cpu"
    hidden = torch.finfo(torch.float32).min if eager else -torch.inf
    masks = {}
    for kind, window in windows(config).items():
        mask = visible if window is None else visible & (distance < window)
        mask = mask | itself if pictures is None else mask | pictures | itself
        if additive:
            mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, hidden)
        masks[kind] = mask[:, None]
    return masks if len(masks) > 1 else next(iter(masks.values()))


def no_mask(device: torch.device) -> torch.Tensor:
    """What models are given where attention needs no mask: models keep a mask of four dimensions as it is."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def _visible(segments: Segments) -> torch.Tensor:
    query, key = segments.segment[:, :, None], segments.segment[:, None, :]
    size = segments.segment.shape[1]
    earlier = torch.ones(size, size, dtype=torch.bool, device=query.device).tril()
    return earlier & (query != OUTSIDE) & ((key == PREFIX) | (key == query))


def check_token_types(token_types: torch.Tensor | None, model_type: str) -> None:
    """Raise CannotShareError if tokens have types whose effect on attention is not known here."""
    if token_types is not None and model_type not in TWO_WAY_PICTURES and bool(token_types.any()):
        raise CannotShareError(f"token_type_ids of {model_type} models")


def _picture_blocks(token_types: torch.Tensor | None, config: Any) -> torch.Tensor | None:
    """(B, S, S), true between tokens of one picture, for models that look at pictures in both directions."""
    if token_types is None or config.model_type not in TWO_WAY_PICTURES:
        return None
    picture = token_types == 1
    starts = picture & ~torch.nn.functional.pad(picture, (1, 0))[:, :-1]
    group = torch.where(picture, starts.cumsum(1), 0)
    return (group[:, :, None] == group[:, None, :]) & picture[:, :, None]
