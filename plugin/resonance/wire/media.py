# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Images as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

# What every server reads; files of other formats are sent as PNG.
_MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def data_uri(image: Any, largest_side: int | None = None) -> str:
    """`data:image/...;base64,...` of an image, byte for byte where it is a file or bytes that every server reads.

    Args:
        image: a path, the bytes of a file, a mapping with `path` or `bytes` as `datasets` has them, or a PIL image.
        largest_side: pixels; a larger image is made smaller. None sends each as it is.

    Raises:
        OSError: it cannot be read; names the file.
    """
    from PIL import Image

    if isinstance(image, dict):
        image = image.get("bytes") or image["path"]
    if isinstance(image, Image.Image):
        return _smaller(image, largest_side) if _is_large(image, largest_side) else _png(image)
    content = bytes(image) if isinstance(image, bytes | bytearray) else Path(image).read_bytes()
    with Image.open(io.BytesIO(content)) as opened:
        if _is_large(opened, largest_side):
            return _smaller(opened, largest_side)
        mime = _MIME.get(opened.format or "")
        return _png(opened) if mime is None else _uri(mime, content)


def _is_large(image: Any, largest_side: int | None) -> bool:
    return largest_side is not None and max(image.size) > largest_side


def _smaller(image: Any, largest_side: int | None) -> str:
    """A smaller image: JPEG where it was that, with the note on how to turn it, else PNG."""
    if image.format != "JPEG":
        copy = image.convert("RGBA" if image.mode in ("P", "PA", "LA") else image.mode)
        copy.thumbnail((largest_side, largest_side))
        return _png(copy)
    copy, buffer = image.copy(), io.BytesIO()
    copy.thumbnail((largest_side, largest_side))
    copy.save(buffer, "JPEG", quality=90, exif=image.getexif())
    return _uri("image/jpeg", buffer.getvalue())


def _png(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _uri("image/png", buffer.getvalue())


def _uri(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
