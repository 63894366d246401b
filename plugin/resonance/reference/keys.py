# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a tokenized row is known by: the numbers in its columns and the content of its media."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..rows.collate import describe_rows
from ..rows.fields import IMAGE_SIZES

KEY_BYTES = 16
_MEDIA = ("images", "videos", "audios")


def keyed_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """All that a key is made of: `columns` of numbers, and those of media, which a row may lack."""
    return (*columns, *_MEDIA, IMAGE_SIZES)


def row_key(row: Mapping[str, Any], columns: Sequence[str]) -> bytes:
    """KEY_BYTES bytes that stand for the numbers and media contents of one tokenized row.

    Args:
        row: has `columns`, and media and their sizes if it has any. A file is known by its content, not by its name.
        columns: of whole numbers: token ids, labels. Their names and their order count.

    Raises:
        ValueError: for a medium that is neither a path, bytes, an image nor an array.
        OSError: a file cannot be read.
    """
    digest = blake2b(digest_size=KEY_BYTES)
    for name in columns:
        _feed(digest, name, np.asarray(row[name], dtype=np.int64).tobytes())
    for kind in _MEDIA:
        for medium in row.get(kind) or []:
            for part in _contents(medium):
                _feed(digest, kind, part)
    if row.get(IMAGE_SIZES):
        _feed(digest, IMAGE_SIZES, str(row[IMAGE_SIZES]).encode())
    return digest.digest()


def _feed(digest: Any, name: str, content: bytes) -> None:
    """With name and length, so that no two rows are made of the same bytes."""
    digest.update(f"{name}:{len(content)}:".encode())
    digest.update(content)


def _contents(medium: Any) -> Iterator[bytes]:
    if isinstance(medium, Mapping):  # as in a parquet file with embedded images
        medium = medium["bytes"] if medium.get("bytes") is not None else medium.get("path")
    if isinstance(medium, str | os.PathLike):
        yield Path(medium).read_bytes()
    elif isinstance(medium, bytes):
        yield medium
    elif isinstance(medium, list):  # the frames of a video
        yield b"frames"
        for frame in medium:
            yield from _contents(frame)
    elif isinstance(medium, np.ndarray):
        yield f"{medium.dtype.str}{medium.shape}".encode() + medium.tobytes()
    elif hasattr(medium, "tobytes") and hasattr(medium, "mode"):
        yield f"{medium.mode}{medium.size}".encode() + medium.tobytes()
    else:
        raise ValueError(f"a medium of type {type(medium).__name__} has no content to be known by")


def named_key(row: Mapping[str, Any], columns: Sequence[str], dataset: Any = None, place: int | None = None) -> bytes:
    """`row_key`, with the row's name in an error.

    Args:
        row: as for `row_key`.
        columns: as for `row_key`.
        dataset: where to look up the row's name if `row` lacks the columns that hold it.
        place: of the row in `dataset`.

    Raises:
        ValueError: a medium cannot be read.
    """
    try:
        return row_key(row, columns)
    except (OSError, ValueError) as error:
        named = dict(row) if dataset is None else dataset[place]
        raise ValueError(f"Cannot read the media of {describe_rows([named])} ({error}).") from error
