# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an answer of a judge is known by: the content of all that decides it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

SIZE = 16  # bytes


class Keys:
    """Keys of questions; each picture's file is read once."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def of(self, decides: Mapping[str, Any], images: list[Any]) -> str:
        """The key of JSON values and the bytes of pictures. OSError for a picture that cannot be read."""
        text = json.dumps([decides, [self._picture(image) for image in images]], sort_keys=True, default=_plain)
        return _digest(text.encode("utf-8"))

    def _picture(self, image: Any) -> str:
        if isinstance(image, Mapping):
            image = image.get("bytes") or image.get("path")
        if isinstance(image, bytes | bytearray):
            return _digest(bytes(image))
        if not isinstance(image, str):
            raise OSError(f"a picture is {image!r:.80}, neither a file nor bytes")
        if image not in self._files:
            self._files[image] = _digest(Path(image).read_bytes())
        return self._files[image]


def of_files(path: Path) -> str:
    """What a folder of weights or a module is known by: names, sizes and times of its files."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    told = [(str(each.relative_to(path)), each.stat().st_size, each.stat().st_mtime_ns) for each in files]
    return _digest(repr(told).encode())


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=SIZE).hexdigest()


def _plain(value: Any) -> str:
    """Values of a row that JSON does not have."""
    return _digest(value) if isinstance(value, bytes) else repr(value)
