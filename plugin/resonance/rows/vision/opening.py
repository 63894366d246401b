# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Opening pictures of unknown origin. Imports PIL alone.

Pillow knows dozens of formats by their first bytes, whatever a file is called; for some of them it starts other
programs (EPS: Ghostscript). Only formats that pictures of data sets have are opened.
"""

from __future__ import annotations

import os
from functools import cache
from typing import BinaryIO

from PIL import Image, ImageFile

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "ICO", "TGA", "JPEG2000", "AVIF")


def open_image(source: str | os.PathLike[str] | BinaryIO) -> ImageFile.ImageFile:
    """Open a picture of one of FORMATS; its pixels are not read yet.

    Raises:
        UnidentifiedImageError, OSError, ValueError, SyntaxError: whatever Pillow finds wrong.
    """
    return Image.open(source, formats=_known())


def is_see_through(image: Image.Image) -> bool:
    """Whether a pixel of a picture is not opaque; reads the pixels if there may be one."""
    return image.has_transparency_data and any(image.convert("RGBA").getchannel("A").histogram()[:255])


@cache
def _known() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
