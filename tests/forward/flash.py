# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FlashAttention's two functions by their documentation, sequence by sequence and query by query, in plain torch.

From the docstring of `flash_attn_varlen_func`: with `causal`, the mask is aligned to the bottom right corner of the
matrix of queries and keys; with a window, query i attends to keys i + seqlen_k - seqlen_q - left to ... + right; heads
of keys and values may be fewer, and each serves a group of query heads that lie together.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import modeling_flash_attention_utils as flash_utils


class Flash:
    """`calls`: (cu_seqlens_q, cu_seqlens_k) of each varlen call, in order; `others`: how many calls were without."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], list[int]]] = []
        self.others = 0

    def varlen(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cu_seqlens_q: torch.Tensor,
        cu_seqlens_k: torch.Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
        softcap: float = 0.0,
        alibi_slopes: torch.Tensor | None = None,
        deterministic: bool = False,
        return_attn_probs: bool = False,
        block_table: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(total_q, heads, d) from q (total_q, heads, d), k and v (total_k, key heads, d)."""
        assert dropout_p == 0.0 and softcap == 0.0 and alibi_slopes is None and block_table is None
        assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32 and not return_attn_probs
        assert q.ndim == k.ndim == v.ndim == 3 and all(t.stride(-1) == 1 for t in (q, k, v))
        ends_q, ends_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
        assert ends_q[0] == ends_k[0] == 0 and ends_q[-1] == len(q) and ends_k[-1] == len(k) == len(v)
        assert int(max_seqlen_q) == max(b - a for a, b in zip(ends_q, ends_q[1:], strict=False))
        assert int(max_seqlen_k) == max(b - a for a, b in zip(ends_k, ends_k[1:], strict=False))
        self.calls.append((ends_q, ends_k))
        scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
        pieces = zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False)
        return torch.cat([_one(q[a:b], k[c:d], v[c:d], scale, causal, window_size) for a, b, c, d in pieces])

    def plain(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """(B, S, heads, d), all of one length."""
        self.others += 1
        scale = kwargs.get("softmax_scale") or q.shape[-1] ** -0.5
        window = kwargs.get("window_size", (-1, -1))
        return torch.stack([_one(*row, scale, kwargs["causal"], window) for row in zip(q, k, v, strict=True)])


def _one(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool, window: tuple[int, int]
) -> torch.Tensor:
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    left, right = window
    right = 0 if causal else right
    hidden = torch.zeros(len(q), len(k), dtype=torch.bool)
    for i in range(len(q)):
        last = i + len(k) - len(q)
        if right >= 0:
            hidden[i, last + right + 1 :] = True
        if left >= 0:
            hidden[i, : max(0, last - left)] = True
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    weights = scores.masked_fill(hidden.to(scores.device), float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, v)


def instead_of_flash_attention(monkeypatch: pytest.MonkeyPatch) -> Flash:
    """In the place where Transformers looks for an installed FlashAttention."""
    found = Flash()

    def functions(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return found.plain, found.varlen, None, flash_utils._pad_input, flash_utils._unpad_input

    monkeypatch.setattr(flash_utils, "_lazy_imports", functions)
    for name in ("_loaded_implementation", "_flash_fn", "_flash_varlen_fn", "_process_flash_kwargs_fn"):
        monkeypatch.setattr(flash_utils, name, None)
    return found


def with_flash(model: Any, name: str = "flash_attention_2") -> Any:
    """The model as it is after it was loaded with this attention, tower and language model."""
    model.config._attn_implementation = name
    return model


def operator(found: Flash) -> Any:
    """torch's own operator for the same call, by its schema and the source of `torch.nn.attention.varlen`."""

    def forward(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cum_seq_q: torch.Tensor,
        cum_seq_k: torch.Tensor,
        max_q: int,
        max_k: int,
        dropout_p: float,
        is_causal: bool,
        return_debug_mask: bool,
        *,
        scale: float | None = None,
        window_size_left: int | None = None,
        window_size_right: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        assert query.dtype == key.dtype == value.dtype and is_causal and not return_debug_mask
        assert window_size_right is None and query.shape[1] % key.shape[1] == 0 and key.shape == value.shape
        assert isinstance(max_q, int) and isinstance(max_k, int)  # a tensor would make the host wait
        left = -1 if window_size_left is None else window_size_left
        ends = cum_seq_q, cum_seq_k, max_q, max_k
        result = found.varlen(query, key, value, *ends, dropout_p, scale, is_causal, (left, 0))
        return result, *[torch.empty(0)] * 4

    return forward


def instead_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> Flash:
    """As if torch had its FlashAttention on a CPU, and for 32 bits."""
    from resonance.forward import varlen

    found = Flash()
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", operator(found))
    monkeypatch.setattr(varlen, "_has_kernel", lambda device: True)
    monkeypatch.setattr(varlen, "_HALF", (torch.float32, torch.bfloat16, torch.float16))
    return found
