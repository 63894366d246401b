# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Images as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

# What every server reads; files of other formats are sent as PNG.
_MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def data_uri(image: Any) -> str:
    """`data:image/...;base64,...` of an image, byte for byte where it is a file or bytes that every server reads.

    Args:
        image: a path, the bytes of a file, a mapping with `path` or `bytes` as `datasets` has them, or a PIL image.

    Raises:
        OSError: it cannot be read; names the file.
    """
    from PIL import Image

    if isinstance(image, dict):
        image = image.get("bytes") or image["path"]
    if isinstance(image, Image.Image):
        return _png(image)
    content = bytes(image) if isinstance(image, bytes | bytearray) else Path(image).read_bytes()
    with Image.open(io.BytesIO(content)) as opened:
        mime = _MIME.get(opened.format or "")
        return _png(opened) if mime is None else _uri(mime, content)


def _png(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _uri("image/png", buffer.getvalue())


def _uri(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
