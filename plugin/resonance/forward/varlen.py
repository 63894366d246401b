# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FlashAttention over shared and packed rows: one varlen call a layer, without a mask and without padding.

A prompt with K continuations is K sequences of one causal call in which queries and keys differ in
number: the prompt with its first continuation attends to itself, and each other continuation to `[prompt | itself]`.
FlashAttention aligns the causal triangle with the last key, so a query sees the keys that it sees in its plain row, at
the distances that they have there, which is what sliding windows count. The keys of a prompt are gathered once a
continuation.

Transformers' own function makes the call, with the FlashAttention that it has chosen for the model. Ours is registered
under the same name and is that function for every other call, and it stays registered: gradient checkpointing looks it
up again in the backward.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import transformers
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.modeling_flash_attention_utils import flash_attn_supports_top_left_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .layout import Segments
from .masks import no_mask

SEQUENCES = "resonance_sequences"  # keyword argument with `Sequences`, which the models hand on to their layers
# This Transformers converts attention sinks that are None, so that no model without sinks gets through its flash
# attention (its issue 45588). It is the newest that LlamaFactory 0.9.5 allows.
_CONVERTS_NONE = "5.6.0"


class _NoSinks:
    """In place of None; what it is converted to is None."""

    def to(self, dtype: torch.dtype) -> None:
        del dtype


class Sequences(NamedTuple):
    """The N sequences of a varlen call on rows of R x S tokens.

    `queries`, `keys`: (Nq,) and (Nk,) places in the flattened rows; what is in none is padding. `query_ends`,
    `key_ends`: (N + 1,) int32, where each sequence ends, from 0. `longest`: tokens of the longest, queries and keys.
    It is a tuple, so that whatever moves a model's arguments to its devices moves these.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    query_ends: torch.Tensor
    key_ends: torch.Tensor
    longest: tuple[int, int]


def sequences(segments: Segments) -> Sequences:
    """Those of shared or packed rows, made on the host and sent to the device of the rows once a call of the model."""
    queries, keys = [], []
    for begin, prompt_end, *ends in segments.pieces:
        prompt = torch.arange(begin, prompt_end)
        queries.append(torch.arange(begin, ends[0] if ends else prompt_end))
        keys.append(queries[-1])
        for start, stop in zip(ends, ends[1:], strict=False):
            queries.append(torch.arange(start, stop))
            keys.append(torch.cat((prompt, queries[-1])))
    device = segments.segment.device
    query_lengths, key_lengths = ([len(sequence) for sequence in side] for side in (queries, keys))
    return Sequences(
        queries=torch.cat(queries).to(device),
        keys=torch.cat(keys).to(device),
        query_ends=_ends(query_lengths, device),
        key_ends=_ends(key_lengths, device),
        longest=(max(query_lengths), max(key_lengths)),
    )


def _ends(lengths: list[int], device: torch.device) -> torch.Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32).to(device)


class VarlenAttention:
    """`plain`, one of Transformers' flash attention functions, and the same on sequences where a call has them."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain = plain

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        """Attention on (R, heads, S, d), gives (R, S, heads, d), with zeros outside the sequences."""
        found = kwargs.pop(SEQUENCES, None)
        if transformers.__version__ == _CONVERTS_NONE and kwargs.get("s_aux") is None:
            kwargs["s_aux"] = _NoSinks()
        if found is None or not module.is_causal:  # some models hand all their arguments on to their vision towers too
            return self.plain(module, query, key, value, attention_mask, **kwargs)
        rows, _, size, _ = query.shape
        kwargs |= {"cu_seq_lens_q": found.query_ends, "cu_seq_lens_k": found.key_ends, "position_ids": None}
        kwargs |= dict(zip(("max_length_q", "max_length_k"), found.longest, strict=True))
        query, key, value = _take(query, found.queries), _take(key, found.keys), _take(value, found.keys)
        result = self.plain(module, query, key, value, None, **kwargs)[0].squeeze(0)
        whole = result.new_zeros(rows * size, *result.shape[1:]).index_copy_(0, found.queries, result)
        return whole.view(rows, size, *result.shape[1:]), None


def _take(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(R, heads, S, d) -> (1, heads, N, d)"""
    return states.transpose(1, 2).flatten(0, 1).index_select(0, places).transpose(0, 1)[None]


def _name(model: Any) -> Any:
    return model.config.get_text_config()._attn_implementation


def is_flash(model: Any) -> bool:
    """Whether Transformers' flash attention, of whatever version or kernel, is what the language model uses."""
    function = ALL_ATTENTION_FUNCTIONS.get(_name(model))
    return isinstance(function, VarlenAttention) or function is flash_attention_forward


def serves(model: Any) -> bool:
    """Whether the language model can be called with sequences: the causal triangle is aligned with the last key."""
    return is_flash(model) and not flash_attn_supports_top_left_mask()


def install(model: Any) -> None:
    """Let `model` be called with sequences if it uses flash attention; other calls stay as they are. Idempotent.

    Also where no rows are shared or packed: without it some Transformers' flash attention fails (`_CONVERTS_NONE`).
    """
    function = ALL_ATTENTION_FUNCTIONS.get(_name(model))
    if is_flash(model) and not isinstance(function, VarlenAttention):
        ALL_ATTENTION_FUNCTIONS.register(_name(model), VarlenAttention(function))


def arguments(segments: Segments) -> dict[str, Any]:
    """What to call a model with that `serves`: no mask, and the sequences."""
    return {"attention_mask": no_mask(segments.segment.device), SEQUENCES: sequences(segments)}
