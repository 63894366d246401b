# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Media of a row as small pictures for the page, or in words why there is none."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datafiles.text import printable, shorten

if TYPE_CHECKING:
    from PIL import Image

SIDE = 1024  # pixels of the longer side that the page gets
LARGEST = 100_000_000  # pixels of a picture that is decoded


class NoPictureError(ValueError):
    """There is nothing to see: says why, and what to do."""


def named(item: Any) -> str:
    """What the row calls a medium."""
    path = item.get("path") if isinstance(item, dict) else item
    if isinstance(path, list):
        return f"{len(path)} frames: {named(path[0]) if path else ''}"
    return shorten(printable(path), 300) if isinstance(path, str) else "(within the row)"


def picture(kind: str, item: Any, media_dir: Path) -> bytes:
    """A medium as a PNG or JPEG of at most SIDE pixels: made anew, so that nothing but a picture can leave here.

    Raises:
        NoPictureError: if it is not there, is no picture, or makes no sound that could be seen.
    """
    if kind == "audios":
        raise NoPictureError("a sound; listen to it with a player")
    try:
        if kind == "videos":
            return _encoded(_first_frame(_source(_one(item), media_dir)))
        return _encoded(_opened(_source(item, media_dir)))
    except NoPictureError:
        raise
    except Exception as error:  # whatever a decoder makes of a file of unknown origin
        raise NoPictureError(f"cannot be shown ({type(error).__name__}: {error})") from error


def _one(item: Any) -> Any:
    """The first frame of a video that is a list of frames."""
    return item[0] if isinstance(item, list) and item else item


def _source(item: Any, media_dir: Path) -> str | BytesIO:
    if isinstance(item, dict):
        item = item["bytes"] if item.get("bytes") is not None else item.get("path")
    if isinstance(item, bytes):
        return BytesIO(item)
    if not isinstance(item, str) or not item:
        raise NoPictureError(f"is no path but {type(item).__name__} {item!r:.60}")
    joined = os.path.join(media_dir, item)
    found = joined if os.path.exists(joined) else item
    if "://" in item or item.startswith("data:"):
        raise NoPictureError("is an address; only files on this machine are shown, and trained on")
    if not os.path.exists(found):
        raise NoPictureError(f"not there, neither below {os.path.abspath(media_dir)} nor below {os.getcwd()}")
    if os.path.isdir(found):
        first = next(iter(sorted(os.listdir(found))), None)
        return _source(os.path.join(os.path.abspath(found), first), media_dir) if first else _source(None, media_dir)
    if not os.path.isfile(found):
        raise NoPictureError("is no file")
    return found


def _opened(source: str | BytesIO) -> Image.Image:
    from ..datafiles.pictures import open_image

    image = open_image(source)
    if image.width * image.height > LARGEST:
        raise NoPictureError(f"has {image.width} x {image.height} pixels, too many to show")
    image.draft("RGB", (SIDE, SIDE))
    return image


def _first_frame(source: str | BytesIO) -> Image.Image:
    if isinstance(source, str) and _is_picture(source):
        return _opened(source)
    import av  # LlamaFactory reads videos with it

    with av.open(source, mode="r") as container:
        for frame in container.decode(video=0):
            return frame.to_image()
    raise NoPictureError("has no frame")


def _is_picture(path: str) -> bool:
    from ..datafiles.columns import MEDIA_SUFFIXES

    return path.lower().endswith(MEDIA_SUFFIXES["images"])


def _encoded(image: Image.Image) -> bytes:
    """Lossless if it is small, for digits and diagrams are; else a JPEG."""
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((SIDE, SIDE))
    out = BytesIO()
    if small.mode == "RGBA" or small.width * small.height <= 256 * 256:
        small.save(out, "PNG")
    else:
        small.save(out, "JPEG", quality=88)
    return out.getvalue()
