# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The size of an image from its header. Imports PIL, no LlamaFactory, no torch.

An image that ends early still raises here as it does when it is decoded: a file without the end mark of its format is
decoded to see what is wrong with it, and so is a file of a format whose end cannot be seen at a glance.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any

from PIL import Image, ImageFile

from .opening import open_image

# Last bytes of a whole file, but for padding. WebP is read to its end when it is opened.
ENDINGS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";", "WEBP": b""}
PNG, PACKED_TEXT = b"\x89PNG\r\n\x1a\n", (b"zTXt", b"iTXt")
PADDING, TAIL = b"\0\r\n ", 64
REMEMBERED = 65536


class SizedImage(Image.Image):
    """An RGB image with a size and no pixels; it can be asked for its size, resized and nothing else."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._sides = size

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._sides

    @property
    def mode(self) -> str:
        """Always RGB: a conversion does not change the size."""
        return "RGB"

    def resize(self, size: Any, *args: Any, **kwargs: Any) -> SizedImage:
        """Take another size.

        Raises:
            ValueError: if a side would be less than one pixel, as PIL does.
        """
        width, height = size
        if min(width, height) < 1:
            raise ValueError("height and width must be > 0")
        return SizedImage((width, height))


class SizedImages(Sequence[Any]):
    """The images of a row, each opened (its header) when it is looked at and not before."""

    def __init__(self, images: Sequence[Any]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return sized(self._images[index])

    def __iter__(self) -> Iterator[Any]:
        return map(sized, self._images)


def sized(image: Any) -> Any:
    """Return the image without its pixels; what is no image to LlamaFactory stays as it is, to be refused by it."""
    return SizedImage(image_size(image)) if isinstance(image, str | bytes | dict | Image.Image) else image


def stored(image: Any) -> Any:
    """Return the bytes or the path of a mapping with both; anything else as it is."""
    if isinstance(image, dict):
        return image["bytes"] if image["bytes"] is not None else image["path"]
    return image


def image_size(image: Any) -> tuple[int, int]:
    """Return (width, height) of an image in pixels, as stored: like LlamaFactory, without turning it by its EXIF.

    Args:
        image: a path, bytes, ``{"bytes", "path"}`` or a PIL image. Files' sizes are remembered until they change.

    Raises:
        OSError: if the file is missing, is no image or ends early (what PIL raises).
        KeyError: if a mapping lacks a key.
    """
    image = stored(image)
    if isinstance(image, Image.Image):
        return _size_of_whole(image)
    if isinstance(image, str | os.PathLike):
        status = os.stat(image)
        return _file_size(os.fspath(image), status.st_mtime_ns, status.st_size)
    with open_image(BytesIO(image) if isinstance(image, bytes) else image) as opened:
        return _size_of_whole(opened)


@lru_cache(REMEMBERED)
def _file_size(path: str, modified: int, length: int) -> tuple[int, int]:
    with open_image(path) as opened:
        return _size_of_whole(opened)


def _size_of_whole(image: Image.Image) -> tuple[int, int]:
    if isinstance(image, ImageFile.ImageFile) and not has_end(image):
        image.load()  # raises what is wrong; some formats know their size only now
    return image.size


def has_end(image: ImageFile.ImageFile) -> bool | None:
    """Whether a file that was just opened ends as its format does, and a PNG's checksums are right.

    None if that cannot be told without decoding it.
    """
    ending, file = ENDINGS.get(image.format or ""), image.fp
    if not ending or file is None:  # without a file it is loaded already
        return None if ending is None else True
    position = file.tell()
    if image.format == "PNG" and not _has_sound_chunks(file):
        file.seek(position)
        return False
    file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
    tail = file.read()
    file.seek(position)
    return tail.rstrip(PADDING).endswith(ending)


def _has_sound_chunks(file: Any) -> bool:
    """Whether each chunk of a PNG file has its checksum, and none but the pixels is packed: it might be a bomb."""
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        body, checksum = file.read(length), file.read(4)
        if zlib.crc32(kind + body).to_bytes(4) != checksum or kind in PACKED_TEXT:
            return False
        if kind == b"IEND":
            return True
    return False
