# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Short fingerprints of models on disk. Reads files; loads no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

_SAMPLE = 4096  # bytes of each tensor; of other files the same from every mebibyte
_NOT_THE_MODEL = ("_name_or_path", "transformers_version")  # in a config.json


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
