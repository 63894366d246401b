# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Small pictures for pages that need no other file. Imports PIL alone."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from PIL import Image

from .validate.findings import Finding
from .validate.rules import image_source
from .vision.opening import open_image

SIDE = 112  # pixels of a thumbnail
LARGEST = 40_000_000  # pixels of an image that is decoded for one; JPEGs are decoded small


def thumbnail(image: Any) -> str | None:
    """A data URI of a small JPEG, None if the image cannot be decoded or is too large to.

    Args:
        image: a path, bytes, ``{"path", "bytes"}`` or a PIL image.
    """
    try:
        if isinstance(image, Image.Image):
            return _data_uri(image)
        source = image_source(image, None)
        if isinstance(source, Finding):
            return None
        with open_image(BytesIO(source) if isinstance(source, bytes) else source) as opened:
            opened.draft("RGB", (SIDE, SIDE))
            return _data_uri(opened) if opened.width * opened.height <= LARGEST else None
    except Exception:  # what is wrong with it is reported where images are checked
        return None


def _data_uri(image: Image.Image) -> str:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    out = BytesIO()
    small.save(out, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
