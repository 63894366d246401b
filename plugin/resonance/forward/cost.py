# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What one layer costs on rows as they are, shared with a mask, and by pieces: FLOPs, launches and bytes. Arithmetic.

Only what differs between these ways is counted: matrix products a token, attention, and what gathers and puts back.
The numbers of `DEVICES` are rough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROWS, SHARED, SPLIT, PACKED = "rows as they are", "shared rows under a mask", "shared rows by pieces", "packed rows"


@dataclass(frozen=True)
class Device:
    """Speeds of a kind of device: FLOPs a second of products and of attention, bytes a second, seconds a launch.

    `block`: keys that a causal kernel computes or skips at a time. `queued`: it works while the host launches.
    `varlen`: pieces are one call over sequences as long as they are.
    """

    products: float
    attention: float
    bytes: float
    launch: float
    block: int
    queued: bool = False
    varlen: bool = False


# A core of a server; a data-centre GPU in 32 bits; in 16 bits, where attention is FlashAttention's. Attention has
# another two and a half forwards in its backward, where a product with LoRA has one: its speed counts as less here.
DEVICES = {
    "cpu": Device(products=7e10, attention=4.5e10, bytes=4e9, launch=1e-5, block=512),
    "cuda": Device(products=5e13, attention=1.5e13, bytes=2e12, launch=8e-6, block=64, queued=True),
    "cuda half": Device(products=4e14, attention=1.5e14, bytes=2e12, launch=8e-6, block=64, queued=True, varlen=True),
}
_LAUNCHES = 30  # of a layer, however its rows lie


@dataclass(frozen=True)
class Layer:
    """A layer of a language model: FLOPs of matrix products a token, query and key heads, and their width."""

    products: float
    heads: int
    key_heads: int
    width: int

    @classmethod
    def of(cls, config: Any) -> Layer:
        """Of a model's configuration; experts count as often as a token meets them."""
        text = config.get_text_config()
        hidden, heads = text.hidden_size, text.num_attention_heads
        key_heads = getattr(text, "num_key_value_heads", None) or heads
        width = getattr(text, "head_dim", None) or hidden // heads
        inner = getattr(text, "intermediate_size", None)
        if experts := getattr(text, "num_experts_per_tok", None):
            inner = experts * (getattr(text, "moe_intermediate_size", None) or inner)
        if not isinstance(inner, int):  # some have one for each layer, or another name for it
            inner = 4 * hidden
        return cls(2.0 * hidden * (2 * width * (heads + key_heads) + 3 * inner), heads, key_heads, width)


Sizes = Sequence[tuple[int, Sequence[int]]]  # tokens of a prompt, and of each continuation


def seconds(way: str, layer: Layer, device: Device, rows: Sequence[int], length: int, groups: Sizes) -> float:
    """Of one layer's forward.

    Args:
        way: ROWS, SHARED, SPLIT or PACKED.
        layer: of the model.
        device: of DEVICES.
        rows: tokens of each row of the batch.
        length: to which they are padded.
        groups: of rows that share a prompt.
    """
    sequences = [prompt + sum(answers) for prompt, answers in groups]
    size = max(sequences)
    launches, moved = _LAUNCHES, 0
    if way == ROWS:
        tokens = len(rows) * length
        padded = min(rows) < length
        cells = len(rows) * (length**2 if padded else _causal(length, device.block))
    elif way == SHARED:
        tokens, cells = len(groups) * size, len(groups) * size**2
    else:
        tokens = sum(sequences) if way == PACKED else len(groups) * size
        cells, more, moved = _split(groups, device)
        launches += more
    work = tokens * layer.products / device.products + 4.0 * layer.heads * layer.width * cells / device.attention
    work += 4.0 * layer.width * (2 * layer.heads + 2 * layer.key_heads) * moved / device.bytes
    waited = launches * device.launch
    return max(work, waited) if device.queued else work + waited


def _causal(length: int, block: int) -> float:
    """Pairs of tokens in a causal kernel."""
    return length * (length + min(block, length)) / 2


def _split(groups: Sizes, device: Device) -> tuple[float, int, int]:
    """Pairs of tokens, launches beyond those of rows, and tokens moved, of attention by pieces."""
    firsts = [prompt + answers[0] for prompt, answers in groups]
    later = [(prompt, answer) for prompt, answers in groups for answer in answers[1:]]
    if device.varlen:
        cells = sum(_causal(first, device.block) for first in firsts)
        cells += sum(answer * (prompt + answer / 2) for prompt, answer in later)
        return cells, 2, 0  # what it gathers is within what is known of its speed
    longest = max(firsts)
    cells = len(groups) * _causal(longest, device.block)
    launches, moved = (0 if len(groups) == 1 else 3) + 1, len(groups) * longest
    if later:
        width, length = max(prompt for prompt, _ in later), max(answer for _, answer in later)
        cells += len(later) * length * (width + length)
        launches, moved = launches + 5, moved + len(later) * (width + 2 * length)
    return cells, launches, moved
