# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Short fingerprints of what a log-probability depends on: rows with their media, and models on disk.

Reads files; loads no model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

KEY_BYTES = 16
_TOKENS = ("chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels")
_MEDIA = ("images", "videos", "audios")
_SIZES = "_image_sizes"  # of a row whose images are made smaller on the way into a batch
KEYED_COLUMNS = (*_TOKENS, *_MEDIA, _SIZES)

_SAMPLE = 4096  # bytes of each tensor; of other files the same from every mebibyte
_NOT_THE_MODEL = ("_name_or_path", "transformers_version")  # in a config.json


def row_key(row: Mapping[str, Any]) -> bytes:
    """KEY_BYTES bytes that stand for the token ids, labels and media contents of one tokenized pair.

    `row` has LlamaFactory's columns of the pairwise stage (KEYED_COLUMNS; media and sizes may be absent). A file is
    known by its content, not by its name.

    Raises:
        ValueError: for a medium that is neither a path, bytes, an image nor an array.
        OSError: a file cannot be read.
    """
    digest = blake2b(digest_size=KEY_BYTES)
    for name in _TOKENS:
        _feed(digest, name, np.asarray(row[name], dtype=np.int64).tobytes())
    for kind in _MEDIA:
        for medium in row.get(kind) or []:
            for part in _contents(medium):
                _feed(digest, kind, part)
    if row.get(_SIZES):
        _feed(digest, _SIZES, str(row[_SIZES]).encode())
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


def short(content: Any) -> str:
    """Twelve hexadecimal digits for JSON-like content; what is not JSON counts by its `str`."""
    return _hex(json.dumps(content, sort_keys=True, default=str).encode())


def _hex(content: bytes) -> str:
    return blake2b(content, digest_size=6).hexdigest()


def config_fingerprint(folder: Path, name: str = "config.json") -> str:
    """Of a model's or an adapter's configuration file, without where it came from.

    Raises:
        ValueError: no such file.
    """
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{folder} has no {name}, so the reference model cannot be told from others")
    config = json.loads(path.read_text(encoding="utf-8"))
    return short({key: value for key, value in config.items() if key not in _NOT_THE_MODEL})


def weights_fingerprint(folder: Path) -> str:
    """Of all weight files in a folder, whatever its name or their dates.

    Safetensors: the header (names, shapes, types) and the first 4 KiB of every tensor. Other files: size, and 4 KiB of
    every MiB. Training changes every one of them; a file that differs elsewhere only is not told apart.

    Raises:
        ValueError: there is no weight file.
    """
    digest = blake2b(digest_size=6)
    files = sorted(folder.glob("*.safetensors")) or sorted([*folder.glob("*.bin"), *folder.glob("*.pt")])
    if not files:
        raise ValueError(f"{folder} has no *.safetensors nor *.bin, so the reference model cannot be told from others")
    for path in files:
        with path.open("rb") as file:
            sample = _tensor_samples if path.suffix == ".safetensors" else _block_samples
            for part in sample(file, path.stat().st_size):
                digest.update(part)
    return digest.hexdigest()


def _tensor_samples(file: Any, size: int) -> Iterator[bytes]:
    start = int.from_bytes(file.read(8), "little")
    header = file.read(start) if start <= size else b""
    yield header
    tensors = json.loads(header)
    for name in sorted(tensors):
        if name != "__metadata__":
            begin, end = tensors[name]["data_offsets"]
            file.seek(8 + start + begin)
            yield file.read(min(_SAMPLE, end - begin))


def _block_samples(file: Any, size: int) -> Iterator[bytes]:
    yield str(size).encode()
    for begin in range(0, size, 1 << 20):
        file.seek(begin)
        yield file.read(_SAMPLE)
