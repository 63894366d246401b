# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Is this image there, and is it an image? Reads headers, decodes nothing. Imports PIL, no LlamaFactory."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

from PIL import Image

from .findings import Finding


def image_finding(image: Any, media_dir: str | None) -> Finding | None:
    """Return what is wrong with one image, or None if its header can be read.

    Args:
        image: what LlamaFactory accepts: a path, bytes, ``{"path", "bytes"}`` or a PIL image.
        media_dir: where relative paths were looked up first; only named in the message.
    """
    if isinstance(image, Image.Image):
        return None
    source = image_source(image, media_dir)
    if isinstance(source, Finding):
        return source
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source):
            return None
    except Exception as error:
        return unreadable(source, error)


def image_source(image: Any, media_dir: str | None) -> str | bytes | Finding:
    """Return the path or the bytes that LlamaFactory will open, or what is wrong; opens nothing.

    Args:
        image: a path, bytes or ``{"path", "bytes"}``.
        media_dir: as for `image_finding`.
    """
    if isinstance(image, dict):
        if "bytes" not in image or (image["bytes"] is None and image.get("path") is None):
            found = f"an image is a mapping with {sorted(image)}, but `bytes` and `path` are needed"
            return Finding("image unreadable", found)
        image = image["bytes"] if image["bytes"] is not None else image["path"]
    if isinstance(image, str):
        return file_finding("image", image, media_dir) or image
    if isinstance(image, bytes):
        return image
    found = f"an image is {type(image).__name__} {image!r:.80}, but a path or bytes are needed"
    return Finding("image unreadable", found)


def unreadable(source: str | bytes, error: Exception) -> Finding:
    """Return why an image cannot be read. PIL raises OSError, ValueError, SyntaxError and its own, by format."""
    label = f"image {source!r}" if isinstance(source, str) else f"an image of {len(source)} bytes"
    return Finding("image unreadable", f"{label} cannot be read ({type(error).__name__}: {error})")


def file_finding(name: str, path: str, media_dir: str | None) -> Finding | None:
    """Return that a media file does not exist, or None.

    Args:
        name: image, video or audio.
        path: opened as it is, because LlamaFactory has already joined ``media_dir`` to the paths it found there.
        media_dir: only named in the message.
    """
    if os.path.exists(path):
        return None
    tried = [path] if media_dir is None or os.path.isabs(path) else [os.path.join(media_dir, path), path]
    return Finding(f"{name} missing", f"{name} {path!r} does not exist (looked for {' and '.join(tried)})")
