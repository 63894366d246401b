# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Images: embedded ones are written once each, others referenced where they are."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datafiles.paths import decoded, is_base64, local_path, path_problem
from ..datafiles.write import replacing
from .archives import IMAGES
from .columns import is_empty
from .spec import Either, FrameFolder, Skip

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("keep", "jpeg", "png")
# Modes in which the bytes of a format are kept as they are.
SAME = {"JPEG": ("L", "RGB"), "MPO": ("L", "RGB"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA")}
SUFFIX = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}
MAGIC = {".jpg": b"\xff\xd8", ".png": b"\x89PNG"}
LOSSY = ("JPEG", "MPO", "WEBP")
QUALITY = 95
DIGITS = 24  # of the SHA-256, in hexadecimal
REMEMBERED = 4096  # paths whose images have been looked at
SOME = 3  # missing images by which another folder is tried


@dataclass
class Media:
    """Finds, checks and writes the images and films of rows.

    Attributes:
        folder: where embedded images go, as ``ab/abcdef....jpg``, named by the hash of their bytes.
        base: what written paths are relative to; those outside of it are written absolute.
        root: ``--image-root``: what paths in rows are relative to, in place of the row's own folder.
        copy: write images that are files into `folder` too.
        format: ``jpeg`` or ``png`` writes all images so into `folder`; ``keep`` leaves them what they are.
        allow_missing: reference files that are not there.
        missing: the first images that are not there, as (path in the row, folder where they were looked for).
    """

    folder: Path
    base: Path
    root: Path | None = None
    copy: bool = False
    format: str = "keep"
    allow_missing: bool = False
    missing: list[tuple[str, Path]] = field(default_factory=list, init=False)
    _seen: dict[tuple[str, Path | None], str] = field(default_factory=dict, init=False)

    def image(self, reference: Any, beside: Path | None) -> str:
        """The path to write for an image, which is there and opens.

        Args:
            reference: a path, bytes, ``{"bytes", "path"}``, or Either of several paths.
            beside: the folder of the row's file; None if it has none.

        Raises:
            Skip: if it is missing, cannot be opened, or its path climbs out of its folder.
        """
        if isinstance(reference, Either):
            there = (path for path in reference.paths if _is_file(self._located(path, beside)))
            reference = next(there, reference.paths[0])
        if isinstance(reference, dict):
            reference = reference.get("bytes") or reference.get("path")
        if isinstance(reference, str) and is_base64(reference):
            reference = decoded(reference) or b""
        if isinstance(reference, bytes | bytearray):
            return self._written(self._store(bytes(reference)))
        if not isinstance(reference, str) or is_empty(reference):
            raise Skip("an image is neither a path nor bytes", repr(reference)[:80])
        key = (reference, beside)
        if key not in self._seen:
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            self._seen[key] = self._file(reference, beside)
        return self._seen[key]

    def video(self, reference: Any, beside: Path | None) -> str | list[str]:
        """The path to write for a film, which is there; for a list or a folder of frames, theirs."""
        if isinstance(reference, FrameFolder):
            reference = self._frames(reference, beside)
        if isinstance(reference, list):
            if not reference:
                raise Skip("a video without frames")
            return [self.image(frame, beside) for frame in reference]
        if not isinstance(reference, str) or not reference:
            raise Skip("a video is neither a path nor a list of frames", repr(reference)[:80])
        path = self._located(reference, beside)
        if not self.allow_missing and not _is_file(path):
            raise Skip("video missing", str(path))
        return self._written(path)

    def _frames(self, video: FrameFolder, beside: Path | None) -> str | list[str]:
        """The frames of a folder in the order of the numbers in their names; the path itself if it is a film."""
        if not isinstance(video.path, str):
            raise Skip("a video is not a path", repr(video.path)[:80])
        folder = self._located(video.path, beside)
        if _is_file(folder):
            return video.path
        try:
            names = sorted((name for name in os.listdir(folder) if name.lower().endswith(IMAGES)), key=_by_number)
        except (
            OSError
        ):  # the names of the frames are known from the folder alone, so it cannot be allowed to be missing
            why = f"no folder {folder}, from which alone the names of frames are known"
            raise Skip("video missing", why) from None
        if video.at_most and len(names) > video.at_most:
            last, steps = len(names) - 1, max(video.at_most - 1, 1)
            names = [names[last * number // steps] for number in range(video.at_most)]
        return [f"{video.path}/{name}" for name in names]

    def _file(self, reference: str, beside: Path | None) -> str:
        path = self._located(reference, beside)
        if not _is_file(path):
            if self.allow_missing:
                return self._written(path)
            if len(self.missing) < SOME and (root := self.root or beside):
                self.missing.append((reference.replace("\\", "/"), root))
            raise Skip("image missing", f"{path}{'' if self.root else '; --image-root FOLDER if they lie elsewhere'}")
        if self.copy or self.format != "keep":
            return self._written(self._store(path.read_bytes(), str(path)))
        try:
            from ..datafiles.pictures import open_image  # here, so that `resonance ls` need not import PIL

            open_image(path).close()
        except Exception as error:  # whatever a decoder makes of foreign bytes
            raise Skip("image cannot be opened", f"{path}: {_fault(error)}") from None
        return self._written(path)

    def _located(self, reference: str, beside: Path | None) -> Path:
        root = self.root or beside
        reference = local_path(reference)
        if problem := path_problem(reference):
            raise Skip("image is not a path", problem)
        if root is None:
            raise Skip("the row has a path, not the image itself", f"{reference[:200]}; give --image-root FOLDER")
        name = reference.replace("\\", "/")
        path = Path(os.path.normpath(os.path.join(root, name)))
        inside = path.is_relative_to(os.path.normpath(root))
        if not inside and (self.root is not None or not os.path.isabs(name)):
            raise Skip("image path climbs out of its folder", f"{reference[:200]} in {root}; another --image-root?")
        return path

    def _written(self, path: Path) -> str:
        path, base = Path(os.path.abspath(path)), os.path.abspath(self.base)
        return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()

    def _store(self, data: bytes, name: str = "embedded") -> Path:
        digest = hashlib.sha256(data).hexdigest()[:DIGITS]
        stem = self.folder / digest[:2] / digest
        for suffix in (".jpg", ".png") if self.format == "keep" else (SUFFIX[self.format.upper()],):
            path = stem.with_suffix(suffix)
            kept = data.startswith(MAGIC[suffix])  # as it is: then the size tells whether all of it was written
            if path.is_file() and (not kept or path.stat().st_size == len(data)):
                return path
        try:
            encoded, suffix = encode(data, self.format)
        except Exception as error:  # whatever a decoder makes of foreign bytes
            raise Skip("image cannot be opened", f"{name}, {len(data)} bytes: {_fault(error)}") from None
        with replacing(stem.with_suffix(suffix), "wb", sync=encoded is not data, follow=False) as file:
            file.write(encoded)
        return stem.with_suffix(suffix)


def nearby_root(missing: Sequence[tuple[str, Path]]) -> Path | None:
    """The folder one level up or down from where images were looked for that has all of them; None if there is none.

    Args:
        missing: (path as in the row, folder where it is not), of images of one import.
    """
    root = Path(os.path.abspath(missing[0][1]))
    down = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    near = (root.parent, *down)
    return next((folder for folder in near if all(_is_file(folder / reference) for reference, _ in missing)), None)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts frame_2 before frame_10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _fault(error: Exception) -> str:
    """PIL's words, except where they hold the address of an object, which is another one in each run."""
    return "no known image format" if type(error).__name__ == "UnidentifiedImageError" else str(error)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def encode(data: bytes, wanted: str) -> tuple[bytes, str]:
    """Bytes and suffix of an image as JPEG or PNG of a mode that every reader knows.

    JPEG and PNG stay as they are, unless they are CMYK, have 16 bits or are transparent in places; of animations the
    first frame is taken.
    Everything is decoded once, so an image cut short raises.

    Raises:
        OSError, ValueError, ...: whatever PIL finds wrong.
    """
    from ..datafiles.pictures import is_see_through, open_image

    with open_image(BytesIO(data)) as image:
        kind = image.format or ""
        wanted_kinds = {"keep": ("JPEG", "MPO", "PNG"), "jpeg": ("JPEG", "MPO"), "png": ("PNG",)}[wanted]
        keep = kind in wanted_kinds and image.mode in SAME[kind]
        if keep and kind != "PNG":
            image.draft(image.mode, (image.width // 8, image.height // 8))  # reads all of the stream, at less cost
        image.load()
        if keep and not is_see_through(image):
            return data, SUFFIX[kind]
        jpeg = wanted == "jpeg" or wanted == "keep" and kind in LOSSY
        plain = _plain(image)
        out = BytesIO()
        plain.save(out, "JPEG", quality=QUALITY) if jpeg else plain.save(out, "PNG")
        return out.getvalue(), ".jpg" if jpeg else ".png"


def _plain(image: Image) -> Image:
    """L or RGB with 8 bits; what is transparent lies on white, where training would see black."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits have no range that is known; convert it to 8 bits")
    if image.mode in ("1", "L") or not image.has_transparency_data:
        return image.convert("L" if image.mode in ("1", "L") else "RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
