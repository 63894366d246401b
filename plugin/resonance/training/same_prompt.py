# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which rows of a set of tokenized pairs answer the same prompt, and what reading them together saves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import datasets
import numpy as np

from ..rows.fields import MEDIA_COLUMNS

_SIDES = ("chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels")
_ROWS, _MEDIA_ROWS = 1000, 100  # read at a time; media may be the bytes of pictures
_IGNORED = -100  # label of a token that is no response token


class Pair(NamedTuple):
    """A row: what stands for the tokens of its prompt and its responses, and how many these are."""

    prompt: bytes
    responses: tuple[bytes, bytes]
    sizes: tuple[int, int, int]


def read_pairs(dataset: datasets.Dataset) -> list[Pair]:
    """All rows of a set of tokenized pairs; reads no media."""
    found = []
    for table in dataset.select_columns(list(_SIDES)).with_format("arrow").iter(_ROWS):
        for chosen, chosen_labels, rejected, rejected_labels in zip(
            *(_lists(table[name]) for name in _SIDES), strict=True
        ):
            prompt, better = _split(chosen, chosen_labels)
            _, worse = _split(rejected, rejected_labels)
            sizes = len(prompt), len(better), len(worse)
            found.append(Pair(_digest(prompt), (_digest(better), _digest(worse)), sizes))
    return found


def rows_of_prompts(pairs: Sequence[Pair], dataset: datasets.Dataset) -> list[list[int]]:
    """The rows of each prompt in the order of the data: those with equal tokens before the response, and equal media.

    Copies of a pair share nothing with each other, so that a set that was repeated to weigh more stays spread out:
    the second copies of the pairs of a prompt are together, and so on.

    Args:
        pairs: of `read_pairs`.
        dataset: of the same rows. Media are known by their paths or bytes; a model that reads two rows together looks
            at their contents again.
    """
    several = {prompt for prompt, count in Counter(pair.prompt for pair in pairs).items() if count > 1}
    media = _media(dataset, [row for row, pair in enumerate(pairs) if pair.prompt in several])
    copies: Counter[Any] = Counter()
    found: dict[Any, list[int]] = {}
    for row, pair in enumerate(pairs):
        known = pair.prompt, media.get(row)
        found.setdefault((known, copies[known, pair.responses]), []).append(row)
        copies[known, pair.responses] += 1
    return list(found.values())


def tokens_saved(pairs: Sequence[Pair], together: Sequence[Sequence[int]]) -> float:
    """The part of the tokens of all pairs, each read as prompt and two responses, that is read once and not again."""
    alone = sum(sum(pair.sizes) for pair in pairs)
    read = 0
    for rows in together:
        some = [pairs[row] for row in rows]
        read += some[0].sizes[0]
        read += sum({r: size for p in some for r, size in zip(p.responses, p.sizes[1:], strict=True)}.values())
    return 1 - read / alone


def _split(ids: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prompt and response of a row."""
    learned = labels != _IGNORED
    first = int(learned.argmax()) if learned.any() else len(ids)
    return ids[:first], ids[first:]


def _digest(ids: np.ndarray) -> bytes:
    return blake2b(ids.tobytes(), digest_size=16).digest()


def _lists(column: Any) -> Iterator[np.ndarray]:
    """The lists of numbers of a column of Arrow."""
    for chunk in column.chunks:
        values, ends = chunk.values.to_numpy(), chunk.offsets.to_numpy()
        yield from (values[start:end] for start, end in zip(ends, ends[1:], strict=False))


def _media(dataset: datasets.Dataset, rows: list[int]) -> dict[int, bytes]:
    """What stands for the media of some rows."""
    names = [name for name in MEDIA_COLUMNS if name in dataset.column_names]
    if not names or not rows:
        return {}
    some = dataset.select_columns(names).select(rows).with_format("arrow")
    tables = (table.select(names).to_pylist() for table in some.iter(_MEDIA_ROWS))
    found: dict[int, bytes] = {}
    for place, row in zip(rows, (row for table in tables for row in table), strict=True):
        digest = blake2b(digest_size=16)
        for part in _parts([row[name] or [] for name in names]):
            digest.update(len(part).to_bytes(8, "big") + part)
        found[place] = digest.digest()
    return found


def _parts(medium: Any) -> Iterator[bytes]:
    """The paths or bytes of media, with marks that tell one nesting of lists from another."""
    if isinstance(medium, list):
        yield b"["
        for part in medium:
            yield from _parts(part)
        yield b"]"
    elif isinstance(medium, Mapping):
        yield from _parts(medium["bytes"] if medium.get("bytes") is not None else medium.get("path"))
    else:
        yield medium if isinstance(medium, bytes) else str(medium).encode()
