# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows a model reads, and which of its hidden states predicts which response token.

Functions of tensors only. A batch is LlamaFactory's: K*B rows padded to L tokens, block k holding
continuation k of each of B prompts, with `labels` of -100 outside the responses.

* plain: the K*B rows as they are.
* shared: B rows `[prompt | continuation 1 | ... | continuation K]`, each continuation at the positions it has in its
  own row, and pictures once. Exact when nobody attends across continuations, which `masks.py` sees to.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

IGNORED = -100  # label of a token that is no response token
PREFIX, OUTSIDE = 0, -1  # segments of a shared row; continuation k is segment k + 1
_PAD_TO = 8  # as LlamaFactory's collator of pairs
_MEDIA = re.compile(r"pixel_values|image_|video_|second_per_grid")
PER_TOKEN = ("input_ids", "token_type_ids")
# replaced, or unused once positions are given
NOT_SHARED = ("attention_mask", "labels", "position_ids", "rope_deltas")


class CannotShareError(ValueError):
    """Why the prompts of a batch, or of a model, cannot be shared; the plain layout is used then."""


@dataclass(frozen=True)
class Segments:
    """Whose token each column of the shared rows is. `segment` and `column` are (R, S) integers.

    `segment`: PREFIX, 1..K for the continuations, OUTSIDE for padding; `column`: the token's place in its plain row.
    `pieces`: for each prompt where it begins, where it ends, and where each of its continuations ends, places in the
    flattened rows. `packed`: a row holds several prompts, which only attention by pieces keeps apart (`packing.py`).
    """

    segment: torch.Tensor
    column: torch.Tensor
    pieces: list[list[int]]
    packed: bool = False


@dataclass(frozen=True)
class Layout:
    """What the model is called with, and for each of N response tokens where its prediction is found.

    `positions`: (N,) index into the model's hidden states, flattened over rows and columns. `targets`: (N,) token ids.
    `owners`: (N,) index into the flattened result of `shape` (K*B, L-1). `blocks`: (N,) which continuation, 0..K-1.
    `copies`: how often the pictures in `inputs` are repeated, block after block; 1 if each is there once.
    """

    inputs: dict[str, Any]
    positions: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor
    blocks: torch.Tensor
    shape: tuple[int, int]
    continuations: int
    copies: int = 1
    segments: Segments | None = None


def is_media(name: str) -> bool:
    """Whether an entry of a batch describes its pictures and videos, not its tokens."""
    return bool(_MEDIA.match(name))


def stands_for_media(ids: torch.Tensor, media_tokens: Collection[int]) -> torch.Tensor:
    """Which of `ids`, of any shape, are among `media_tokens`."""
    return torch.isin(ids, torch.tensor(sorted(media_tokens), dtype=ids.dtype, device=ids.device))


def plain(batch: dict[str, Any], continuations: int) -> Layout:
    """The batch as it is: every row reads its own prompt and pictures."""
    ids, labels = batch["input_ids"], batch["labels"][:, 1:]
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    media = {name: value for name, value in batch.items() if is_media(name)}
    repeated = bool(media) and all(_repeats(value, continuations) for value in media.values())
    return Layout(
        inputs={name: value for name, value in batch.items() if name != "labels"},
        positions=rows * ids.shape[1] + columns,
        targets=labels[rows, columns],
        owners=rows * labels.shape[1] + columns,
        blocks=rows // (len(ids) // continuations),
        shape=(labels.shape[0], labels.shape[1]),
        continuations=continuations,
        copies=continuations if repeated else 1,
    )


def shared(batch: dict[str, Any], continuations: int, media_tokens: Collection[int]) -> Layout:
    """One row a prompt. `media_tokens` are the ids that stand for parts of pictures, videos and sounds.

    Raises:
        CannotShareError: with the reason, if the rows do not consist of equal prompts followed by responses.
    """
    ids, attended, labels = (batch[name].cpu() for name in ("input_ids", "attention_mask", "labels"))
    first, ends = _check_rows(ids, attended, labels, continuations)
    media = stands_for_media(ids, media_tokens)
    if bool((media & (labels != IGNORED)).any()):
        raise CannotShareError("a response contains picture tokens")
    tails = _unattended_pictures(media & (attended == 0), ends, continuations)
    copies = _copies(media, continuations)
    inputs = {name: value for name, value in batch.items() if name not in (*NOT_SHARED, *PER_TOKEN)}
    for name, value in inputs.items():
        if not is_media(name):
            raise CannotShareError(f"the batch has {name}")
        inputs[name] = _first_copy(name, value, copies)
    if inputs and not bool(media.any()):
        raise CannotShareError("the batch has pictures, but no known picture token")
    return _lay_out(batch, inputs, ids, (first, ends, tails), continuations)


def _check_rows(
    ids: torch.Tensor, attended: torch.Tensor, labels: torch.Tensor, continuations: int
) -> tuple[list[int], list[int]]:
    """First response token and end of each row, (K*B,) both; raises if the rows are not prompt, response, padding."""
    length = ids.shape[1]
    column = torch.arange(length)
    end, response = attended.sum(1), labels != IGNORED
    first = response.int().argmax(1)
    if not bool((attended == (column < end[:, None])).all()):
        raise CannotShareError("rows are padded on the left, or packed")
    if not bool((first > 0).all()) or not bool(response.any(1).all()):
        raise CannotShareError("a row has no prompt or no response")
    if not bool((response == ((column >= first[:, None]) & (column < end[:, None]))).all()):
        raise CannotShareError("responses are not the ends of their rows")
    prompts = ids.view(continuations, -1, length).masked_fill(column >= first.view(continuations, -1, 1), IGNORED)
    if not bool((prompts == prompts[:1]).all()):
        raise CannotShareError("the responses answer different prompts")
    return first.tolist(), end.tolist()


def _unattended_pictures(tail: torch.Tensor, ends: list[int], continuations: int) -> list[int]:
    """Where each row of the first block ends if its unattended picture tokens are kept.

    LlamaFactory appends one unattended picture to the first row of a batch without any, so that every rank calls the
    vision tower; the model counts picture tokens, so they must stay.
    """
    prompts = len(ends) // continuations
    if bool(tail[prompts:].any()):
        raise CannotShareError("padding contains picture tokens")
    last = (tail[:prompts] * torch.arange(1, tail.shape[1] + 1)).amax(1)
    return torch.maximum(last, torch.tensor(ends[:prompts])).tolist()


def _copies(media: torch.Tensor, continuations: int) -> int:
    """How often the batch holds each picture, from the number of picture tokens in each block."""
    counts = media.view(continuations, -1).sum(1).tolist()
    if len(set(counts)) == 1:
        return continuations
    if any(counts[1:]):
        raise CannotShareError("the responses to a prompt have different pictures")
    return 1


def _repeats(value: Any, times: int) -> bool:
    """Whether a tensor or list is `times` equal parts, one after the other."""
    if not isinstance(value, torch.Tensor | list) or len(value) == 0 or len(value) % times:
        return False
    step = len(value) // times
    starts = range(step, len(value), step)
    if isinstance(value, torch.Tensor):
        return all(torch.equal(value[start : start + step], value[:step]) for start in starts)
    numbers = all(isinstance(item, int | float) for item in value)
    return numbers and all(value[start : start + step] == value[:step] for start in starts)


def _first_copy(name: str, value: Any, copies: int) -> Any:
    if copies > 1 and not _repeats(value, copies):
        raise CannotShareError(f"{name} differs between the responses to a prompt")
    return value[: len(value) // copies]


def _lay_out(
    batch: dict[str, Any],
    media: dict[str, Any],
    ids: torch.Tensor,
    bounds: tuple[list[int], list[int], list[int]],
    continuations: int,
) -> Layout:
    """Gather the tokens of checked rows; indices are made on the host and sent once."""
    first, ends, tails = bounds
    prompts, length = len(ids) // continuations, ids.shape[1]
    spans = [_spans(i, first[i], ends, tails[i], prompts) for i in range(prompts)]
    size = max(sum(stop - start for _, start, stop, _ in row) for row in spans)
    size = -(-size // _PAD_TO) * _PAD_TO
    source = torch.zeros(3, prompts, size, dtype=torch.long)  # row, column, segment
    found: list[torch.Tensor] = []
    for i, row in enumerate(spans):
        at = 0
        for plain_row, start, stop, segment in row:
            width = stop - start
            columns = torch.arange(start, stop)
            source[0, i, at : at + width], source[1, i, at : at + width] = plain_row, columns
            source[2, i, at : at + width] = segment
            if segment > PREFIX:
                before = torch.arange(at - 1, at + width - 1)
                before[0] = first[i] - 1  # the last token of the prompt predicts the first of every continuation
                owner = plain_row * (length - 1) + columns - 1
                block = torch.full_like(columns, segment - 1)
                found.append(torch.stack((i * size + before, ids[plain_row, columns], owner, block)))
                last = (plain_row, stop - 1)
            at += width
        source[0, i, at:], source[1, i, at:], source[2, i, at:] = *last, OUTSIDE  # any token that is no picture
    device = batch["input_ids"].device
    rows, columns, segment = source.to(device)
    positions, targets, owners, blocks = torch.cat(found, 1).to(device)
    inputs = {name: batch[name][rows, columns] for name in PER_TOKEN if name in batch}
    inputs["position_ids"] = batch["position_ids"][..., rows, columns] if "position_ids" in batch else columns
    widths = [[stop - start for _, start, stop, _ in row[:-1]] for row in spans]
    pieces = [list(accumulate(row, initial=i * size)) for i, row in enumerate(widths)]
    return Layout(
        inputs=inputs | media,
        positions=positions,
        targets=targets,
        owners=owners,
        blocks=blocks,
        shape=(len(ids), length - 1),
        continuations=continuations,
        segments=Segments(segment, columns, pieces),
    )


def _spans(i: int, first: int, ends: list[int], tail: int, prompts: int) -> list[tuple[int, int, int, int]]:
    """Pieces of shared row i as (plain row, from, to, segment)."""
    continuations = [(row, first, ends[row], k + 1) for k, row in enumerate(range(i, len(ends), prompts))]
    return [(i, 0, first, PREFIX), *continuations, (i, ends[i], tail, OUTSIDE)]
