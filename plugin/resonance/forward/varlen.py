# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FlashAttention over shared and packed rows: one varlen call a layer, without a mask and without padding.

A prompt with K continuations is K sequences of one causal call in which queries and keys differ in
number: the prompt with its first continuation attends to itself, and each other continuation to `[prompt | itself]`.
FlashAttention aligns the causal triangle with the last key, so a query sees the keys that it sees in its plain row, at
the distances that they have there, which is what sliding windows count. The keys of a prompt are gathered once a
continuation.

The call is torch's own operator under `sdpa`, and Transformers' function, with the FlashAttention that it has chosen,
for models that use one. In place of that function ours is registered under the same name: it is that function for
every other call, and it stays registered, because gradient checkpointing looks it up again in the backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.modeling_flash_attention_utils import flash_attn_supports_top_left_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SEQUENCES = "resonance_sequences"  # keyword argument with `Sequences`, which the models hand on to their layers
_HALF = (torch.float16, torch.bfloat16)
_WIDEST = 256  # numbers a head that torch's operator takes, in steps of 8
# This Transformers converts attention sinks that are None, so that no model without sinks gets through its flash
# attention (its issue 45588).
_CONVERTS_NONE = "5.6.0"


class _NoSinks:
    """In place of None; what it is converted to is None."""

    def to(self, dtype: torch.dtype) -> None:
        del dtype


class Sequences(NamedTuple):
    """The N sequences of a varlen call on rows of R x S tokens.

    `queries`, `keys`: (Nq,) and (Nk,) places in the flattened rows; what is in none is padding, and no `queries` are
    all places in order. `query_ends`, `key_ends`: (N + 1,) int32, where each sequence ends, from 0. `longest`: tokens
    of the longest, queries and keys. It is a tuple, so that whatever moves a model's arguments to its devices moves
    these.
    """

    queries: torch.Tensor | None
    keys: torch.Tensor
    query_ends: torch.Tensor
    key_ends: torch.Tensor
    longest: tuple[int, int]


def places(pieces: Sequence[Sequence[int]], cells: int) -> dict[str, torch.Tensor]:
    """The tensors of `Sequences`, on the host."""
    queries, keys = [], []
    for begin, prompt, *ends in pieces:
        given = np.arange(begin, prompt)
        queries.append(np.arange(begin, ends[0] if ends else prompt))
        keys.append(queries[-1])
        for start, stop in pairwise(ends):
            queries.append(np.arange(start, stop))
            keys.append(np.concatenate((given, queries[-1])))
    found = {}
    for name, side in (("queries", queries), ("keys", keys)):
        found[name] = np.concatenate(side)
        found[f"{name}_ends"] = np.array([0, *accumulate(map(len, side))], dtype=np.int32)
    if len(found["queries"]) == cells:
        del found["queries"]
    return {name: torch.from_numpy(values) for name, values in found.items()}


def sequences(found: dict[str, torch.Tensor], pieces: Sequence[Sequence[int]]) -> Sequences:
    """Make `Sequences` of the tensors of `places`, on the device that those are on."""
    firsts = [(ends[0] if ends else prompt) - begin for begin, prompt, *ends in pieces]
    later = [(b - a, prompt - begin) for begin, prompt, *ends in pieces for a, b in pairwise(ends)]
    longest = max([*firsts, *(own for own, _ in later)]), max([*firsts, *(own + given for own, given in later)])
    return Sequences(found.get("queries"), found["keys"], found["queries_ends"], found["keys_ends"], longest)


# -- torch's operator -----------------------------------------------------------------------------------------------


def torch_has_it(model: Any) -> bool:
    """Whether torch's FlashAttention takes what the attention layers of `model` will compute with, as far as is known.

    Weights of 32 bits may meet 16 under autocast, which Accelerate wraps around the forward.
    """
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is None or not _has_kernel(weight.device):
        return False
    text = model.config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    half = any(p.dtype in _HALF for p in model.parameters()) or hasattr(model, "_original_forward")
    return half and _fits(width)


def takes(query: torch.Tensor) -> bool:
    """Whether torch's FlashAttention computes what these layers ask for."""
    return _has_kernel(query.device) and _precision(query) in _HALF and _fits(query.shape[-1])


def _fits(width: int) -> bool:
    return width <= _WIDEST and width % 8 == 0


def _has_kernel(device: torch.device) -> bool:
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.backends.cuda.is_flash_attention_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def _precision(states: torch.Tensor) -> torch.dtype:
    """Autocast leaves torch's operator out, though it casts for the function that calls it."""
    kind = states.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    found: Sequences,
    scale: float | None,
    window: int | None = None,
) -> torch.Tensor:
    """Attention on (R, heads, S, d), gives (R, S, heads, d), with zeros outside the sequences.

    Keys and values may have fewer heads, each of which serves a group of query heads that lie together.
    """
    rows, _, size, _ = query.shape
    dtype = _precision(query)
    q, k, v = (
        _take(states.to(dtype), places)
        for states, places in ((query, found.queries), (key, found.keys), (value, found.keys))
    )
    left = None if window is None else window - 1
    sizes = (found.query_ends, found.key_ends, *found.longest)
    result = torch.ops.aten._flash_attention_forward(
        q, k, v, *sizes, 0.0, True, False, scale=scale, window_size_left=left
    )[0]
    return _spread(result, found, rows, size)


def _take(states: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
    """(R, heads, S, d) -> (N, heads, d)"""
    flat = states.transpose(1, 2).flatten(0, 1)
    return flat if places is None else flat.index_select(0, places)


def _spread(result: torch.Tensor, found: Sequences, rows: int, size: int) -> torch.Tensor:
    """(Nq, heads, d) -> (R, S, heads, d)"""
    if found.queries is None:
        return result.view(rows, size, *result.shape[1:])
    whole = result.new_zeros(rows * size, *result.shape[1:]).index_copy(0, found.queries, result)
    return whole.view(rows, size, *result.shape[1:])


# -- Transformers' function -----------------------------------------------------------------------------------------


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
        taken = (_take(query, found.queries), _take(key, found.keys), _take(value, found.keys))
        query, key, value = (states.transpose(0, 1)[None] for states in taken)
        result = self.plain(module, query, key, value, None, **kwargs)[0].squeeze(0)
        return _spread(result, found, rows, size), None


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
