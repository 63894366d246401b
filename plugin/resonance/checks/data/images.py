# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is wrong with an image, and how large it is, from its header. Imports PIL.

A file is opened once however many rows show it. Its last bytes are read too: one that does not end as its format does
is decoded, and only if that fails is it called truncated.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b, file_digest
from io import BufferedReader, BytesIO
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from ...datafiles.text import DIGEST, digest
from ...rows.validate.findings import Finding
from ...rows.validate.rules import image_source, unreadable
from ...rows.vision.header import has_end
from ...rows.vision.opening import is_see_through, open_image

ORIENTATION = 0x0112
WORKERS = 16
LOOKED = 200  # pictures with transparency whose pixels are looked at; --decode looks at all
MAX_PIXELS = 89_478_485  # from here PIL warns; it refuses twice as many


class Facts(NamedTuple):
    """Size in pixels, None if it could not be told, and problems as (kind, message)."""

    size: tuple[int, int] | None
    problems: tuple[tuple[str, str], ...] = ()


@dataclass
class ImageProbe:
    """Look at images and remember what was found, a few dozen bytes a file.

    Args:
        media_dir: where relative paths were looked up, for messages.
        decode: decode every image in full.
        max_pixels: from how many pixels an image is called oversized.
    """

    media_dir: str
    decode: bool = False
    max_pixels: int = MAX_PIXELS
    facts: dict[str, Facts] = field(default_factory=dict)
    sizes: array[int] = field(default_factory=lambda: array("I"))  # width, height of each file or embedded image
    looked: list[str] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(WORKERS))

    def look_ahead(self, images: Iterable[Any]) -> None:
        """Open files that rows to come will ask for, side by side: they wait for a disk or a network."""
        paths = [path for path in dict.fromkeys(map(_path_of, images)) if path and path not in self.facts]
        if len(paths) > 1:
            for path, facts in zip(paths, self._pool.map(self._look, paths), strict=True):
                self._remember(path, facts)

    def __call__(self, image: Any) -> Facts:
        """Return the facts of an image: a path, bytes or ``{"path", "bytes"}``."""
        path = _path_of(image)
        if path and path in self.facts:
            return self.facts[path]
        return self._remember(path, self._look(path or image))

    def _remember(self, path: str | None, facts: Facts) -> Facts:
        self.sizes.extend(facts.size or ())
        if path:
            self.facts[path] = facts
        return facts

    def _look(self, image: Any) -> Facts:
        source = image_source(image, self.media_dir)
        if isinstance(source, Finding):
            return Facts(None, (source[:2],))
        if isinstance(source, str) and not os.path.isfile(source):
            return Facts(None, (("image unreadable", f"image {source!r} is no file"),))
        try:
            with open_source(source) as file:
                return self._inspect(file, source)
        except Exception as error:
            return Facts(None, (unreadable(source, error)[:2],))

    def _inspect(self, file: BinaryIO, source: str | bytes) -> Facts:
        label = f"image {source!r}" if isinstance(source, str) else f"an image of {len(source)} bytes"
        if file.seek(0, os.SEEK_END) == 0:
            return Facts(None, (("image empty", f"{label} has no bytes"),))
        file.seek(0)
        with open_image(file) as image:
            size, found = image.size, list(self._remarks(image, label))
            if self.decode or has_end(image) is False:
                try:
                    image.load()
                except Exception as error:  # whatever a decoder makes of what is cut short
                    told = f"{label} cannot be decoded ({type(error).__name__}: {error})"
                    found.insert(0, ("image truncated", told))
        return Facts(size, tuple(found))

    def _remarks(self, image: Image.Image, label: str) -> Iterator[tuple[str, str]]:
        """What training does to an image without a word."""
        width, height = image.size
        if width * height > self.max_pixels:
            yield "image oversized", f"{label} has {width} x {height} pixels, more than {self.max_pixels:,}"
        if image.format != "MPO" and getattr(image, "is_animated", False):
            yield "image animated", f"{label} has more than one frame"
        if image.mode == "CMYK":
            yield "image CMYK", f"{label} is CMYK"
        if image.mode.startswith(("I", "F")):
            yield "image 16 bit", f"{label} has the mode {image.mode}"
        if image.has_transparency_data and (self.decode or len(self.looked) < LOOKED):
            self.looked.append(label)
            if is_see_through(image):
                yield "image transparent", f"{label} is transparent in places, which training sees as black or worse"
        if "exif" in image.info and (turn := image.getexif().get(ORIENTATION, 1)) not in (0, 1):
            yield "image turned", f"{label} has the EXIF orientation {turn}"


def open_source(source: str | bytes) -> BufferedReader | BytesIO:
    """Open a path or bytes for reading."""
    return BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def _path_of(image: Any) -> str | None:
    if isinstance(image, dict) and image.get("bytes", b"") is None:
        image = image.get("path")
    return image if isinstance(image, str) and image else None


def content_hash(image: Any) -> bytes:
    """16 bytes that stand for an image's file as it is; for one that cannot be read, for its path."""
    try:
        source = image_source(image, None)
        if not isinstance(source, Finding):
            with open_source(source) as file:
                return file_digest(file, partial(blake2b, digest_size=DIGEST)).digest()
    except (OSError, ValueError):
        pass  # as for one that is not there
    return digest(repr(image))
