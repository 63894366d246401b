# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Attention over sequences of a prompt and its continuations in two calls a layer, however many sequences there are.

The first call is causal: `[prompt | first continuation]` of every sequence, padded to the longest. The second one
takes all other continuations, each with the keys `[prompt | itself]`, under a mask. Queries, keys and values are
gathered into these shapes, and the results are put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

Index = torch.Tensor | slice  # places in the flattened rows


@dataclass(frozen=True)
class Batches:
    """The two calls over rows of `cells` tokens.

    Attributes:
        first: places of the first call's tokens, (rows * length,).
        rows: of the first call.
        queries, keys: those of the second call, (others * length,) and (others * (prompt + length),); None without.
        mask: of the second call, additive float32 (others or 1, 1, length, prompt + length); None without.
        back: where each cell finds its result in those of both calls; None if they are the cells, in order.
    """

    first: Index
    rows: int
    queries: Index | None
    keys: torch.Tensor | None
    mask: torch.Tensor | None
    back: torch.Tensor | None


def places(pieces: Sequence[Sequence[int]], cells: int) -> dict[str, torch.Tensor]:
    """The index tensors of `Batches`, int64 on the host; `prompts` are the lengths of the second call's prompts."""
    firsts = [(begin, ends[0] if ends else prompt) for begin, prompt, *ends in pieces]
    others = [(begin, prompt, start, stop) for begin, prompt, *ends in pieces for start, stop in pairwise(ends)]
    length = max(end - begin for begin, end in firsts)
    back = np.zeros(cells, dtype=np.int64)
    for number, (begin, end) in enumerate(firsts):
        back[begin:end] = np.arange(end - begin) + number * length
    found = {"first": _padded(firsts, length).ravel()}
    if others:
        offset, longest = len(firsts) * length, max(stop - start for *_, start, stop in others)
        for number, (*_, start, stop) in enumerate(others):
            back[start:stop] = np.arange(stop - start) + offset + number * longest
        own = _padded([(start, stop) for *_, start, stop in others], longest)
        prompts = np.array([prompt - begin for begin, prompt, *_ in others])
        given = _padded([(begin, prompt) for begin, prompt, *_ in others], int(prompts.max()))
        found |= {"queries": own.ravel(), "keys": np.concatenate((given, own), 1).ravel(), "prompts": prompts}
    return {name: torch.from_numpy(values) for name, values in (found | {"back": back}).items()}


def _padded(ranges: Sequence[tuple[int, int]], length: int) -> np.ndarray:
    """(ranges, length): the numbers of each range, and its last one, or first if it is empty, until the end."""
    starts, stops = (np.array(side)[:, None] for side in zip(*ranges, strict=True))
    return np.minimum(starts + np.arange(length), np.maximum(stops - 1, starts))


def batches(found: dict[str, torch.Tensor], pieces: Sequence[Sequence[int]], cells: int) -> Batches:
    """Make the calls of `places`, on the device that those are on."""
    rows, others = len(pieces), len(found["prompts"]) if "prompts" in found else 0
    first: Index = found["first"]
    if rows == 1:
        first = slice(pieces[0][0], pieces[0][0] + len(found["first"]))
    queries: Index | None = found.get("queries")
    mask = None
    if queries is not None:
        length, prompts = len(found["queries"]) // others, found["prompts"]
        width = len(found["keys"]) // others - length
        if others == 1:
            queries = slice(pieces[0][2], pieces[0][3]) if rows == 1 else queries
        mask = _mask(prompts[:1] if _equal(pieces) else prompts, length, width)
    whole = rows == 1 and others <= 1 and pieces[0][0] == 0 and pieces[0][-1] == cells
    return Batches(first, rows, queries, found.get("keys"), mask, None if whole else found["back"])


def _equal(pieces: Sequence[Sequence[int]]) -> bool:
    """Whether the prompts with several continuations are equally long."""
    return len({prompt - begin for begin, prompt, *ends in pieces if len(ends) > 1}) == 1


def _mask(prompts: torch.Tensor, length: int, width: int) -> torch.Tensor:
    """All of one's prompt, and one's own tokens up to oneself."""
    own = torch.ones(length, length, dtype=torch.bool, device=prompts.device).tril()
    given = torch.arange(width, device=prompts.device) < prompts[:, None]
    seen = torch.cat((given[:, None].expand(-1, length, -1), own.expand(len(prompts), -1, -1)), 2)
    return torch.zeros(seen.shape, device=prompts.device).masked_fill_(~seen, -torch.inf)[:, None]


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, calls: Batches, scale: float | None
) -> torch.Tensor:
    """Attention on (R, heads, S, d), gives (R, S, heads, d); what is in no sequence gets the result of another token.

    Keys and values may have fewer heads, each of which serves a group of query heads that lie together.
    """
    rows, heads, size, width = query.shape
    flat = [states.transpose(1, 2).flatten(0, 1) for states in (query, key, value)]
    q, k, v = (_take(states, calls.first, calls.rows) for states in flat)
    parts = [call(q, k, v, None, scale)]
    if calls.queries is not None and calls.keys is not None and calls.mask is not None:
        others = len(calls.keys) // calls.mask.shape[-1]
        q, (k, v) = _take(flat[0], calls.queries, others), (_take(states, calls.keys, others) for states in flat[1:])
        parts.append(call(q, k, v, calls.mask, scale))
    found = [part.transpose(1, 2).reshape(-1, heads, width) for part in parts]
    result = torch.cat(found) if len(found) > 1 else found[0]
    return (result if calls.back is None else result.index_select(0, calls.back)).view(rows, size, heads, width)


def _take(states: torch.Tensor, places: Index, rows: int) -> torch.Tensor:
    """(R * S, heads, d) -> (rows, heads, length, d)"""
    taken = states[places] if isinstance(places, slice) else states.index_select(0, places)
    return taken.unflatten(0, (rows, -1)).transpose(1, 2)


def call(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float | None
) -> torch.Tensor:
    """SDPA, causal without a mask."""
    grouped = query.shape[1] != key.shape[1]
    if grouped and query.device.type != "cpu":  # elsewhere torch has no fast kernel for groups under a mask
        key, value = (t.repeat_interleave(query.shape[1] // key.shape[1], 1) for t in (key, value))
        grouped = False
    if mask is not None:
        mask = mask.to(query.dtype)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
    )
