# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows room: is this image there, and is it an image? Reads headers, decodes nothing. Imports PIL, no LlamaFactory."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image


def image_problem(image: Any, media_dir: str | None) -> tuple[str, str] | None:
    """Say what is wrong with one image, as (kind, what was found), or None if its header can be read.

    Args:
        image: what LlamaFactory accepts: a path, bytes, ``{"path", "bytes"}`` or a PIL image.
        media_dir: where relative paths were looked up first; only named in the message.
    """
    if isinstance(image, Image.Image):
        return None
    if isinstance(image, dict):
        if "bytes" not in image or (image["bytes"] is None and image.get("path") is None):
            return "image unreadable", f"an image is a mapping with {sorted(image)}, but `bytes` and `path` are needed"
        image = image["bytes"] if image["bytes"] is not None else image["path"]
    if isinstance(image, str):
        return file_problem("image", image, media_dir) or _header_problem(image, f"image {image!r}")
    if isinstance(image, bytes):
        return _header_problem(BytesIO(image), f"an image of {len(image)} bytes")
    return "image unreadable", f"an image is {type(image).__name__} {image!r:.80}, but a path or bytes are needed"


def file_problem(name: str, path: str, media_dir: str | None) -> tuple[str, str] | None:
    """Say that a media file does not exist, or return None.

    LlamaFactory has already joined ``media_dir`` to the paths it found there, so `path` is opened as it is.
    """
    if os.path.exists(path):
        return None
    tried = [path] if media_dir is None or os.path.isabs(path) else [os.path.join(media_dir, path), path]
    return f"{name} missing", f"{name} {path!r} does not exist (looked for {' and '.join(tried)})"


def _header_problem(source: str | BinaryIO, label: str) -> tuple[str, str] | None:
    try:
        with Image.open(source):
            return None
    except (
        Exception
    ) as error:  # PIL raises OSError, ValueError, SyntaxError and its own classes, depending on the format
        return "image unreadable", f"{label} cannot be read ({type(error).__name__}: {error})"
