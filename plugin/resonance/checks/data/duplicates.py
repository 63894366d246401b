# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows that are there twice, contradict each other, or are in another set too.

Texts and images are held as 16-byte hashes. Within a set images are the same if their paths are; against another set,
if their files are, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...datafiles.columns import PLACEHOLDERS
from ...datafiles.text import digest
from .images import content_hash

FILES = 1 << 20  # more than anybody checks at once: a row and its file are kept as one whole number
_SPACE = re.compile(r"\s+")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


@dataclass
class Duplicates:
    """Compare each row with those before it."""

    files: list[str] = field(default_factory=list)
    _prompts: dict[bytes, int] = field(default_factory=dict)
    _rows: dict[bytes, int] = field(default_factory=dict)

    def __call__(self, file: str, row: int, aligned: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield (kind, message) and remember the row."""
        prompt = self._prompt(aligned)
        answers = [_text(message["content"]) for message in aligned["_response"]]
        answers += [_text(aligned["_answer"])] if "_answer" in aligned else []
        place = self._place(file, row)
        whole = digest(prompt, *answers)
        if (first := self._rows.setdefault(whole, place)) != place:
            yield "duplicate row", f"prompt, media and answers are those of {self._tell(first, file)}"
            return
        if (first := self._prompts.setdefault(prompt, place)) == place:
            return
        if len(answers) == 2 and (other := self._rows.get(digest(prompt, *reversed(answers)))) is not None:
            yield "contradiction", f"chosen and rejected are the other way round in {self._tell(other, file)}"
        else:
            yield "duplicate prompt", f"prompt and media are those of {self._tell(first, file)}"

    def _prompt(self, aligned: dict[str, Any]) -> bytes:
        texts = [_text(message["content"]) for message in aligned["_prompt"]]
        media = [item for key in ("_images", "_videos", "_audios", "_beside") for item in aligned[key] or ()]
        return digest(_text(aligned["_system"] or ""), *texts, b"", *map(_identity, media))

    def _place(self, file: str, row: int) -> int:
        if file not in self.files:
            self.files.append(file)
        return row * FILES + self.files.index(file)

    def _tell(self, place: int, file: str) -> str:
        row, number = divmod(place, FILES)
        other = self.files[number]
        return f"row {row}" if other == file else f"{other}, row {row}"


def _identity(medium: Any) -> str | bytes:
    if isinstance(medium, dict) and isinstance(medium.get("bytes"), bytes):
        medium = medium["bytes"]
    return content_hash(medium) if isinstance(medium, bytes) else _text(medium)


@dataclass
class Leakage:
    """Compare rows with those of another set, by what is in the image files and by the words of the prompt.

    Args:
        name: of the other set.
    """

    name: str
    _images: set[bytes] = field(default_factory=set)
    _rows: dict[bytes, int] = field(default_factory=dict)
    _hashes: dict[str, bytes] = field(default_factory=dict)

    def remember(self, row: int, aligned: dict[str, Any]) -> None:
        """Take in a row of the other set."""
        images = self._contents(aligned)
        self._images.update(images)
        self._rows.setdefault(self._key(aligned, images), row)

    def __call__(self, aligned: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield (kind, message) for a row of the set being checked."""
        images = self._contents(aligned)
        first = self._rows.get(self._key(aligned, images))
        if first is not None:
            yield "leaked row", f"prompt and images are those of row {first} of {self.name}"
        elif shared := sum(image in self._images for image in images):
            yield "leaked image", f"{shared} of its {len(images)} images is also in {self.name}"

    def _contents(self, aligned: dict[str, Any]) -> list[bytes]:
        return [self._content(image) for image in aligned["_images"] or ()]

    def _content(self, image: Any) -> bytes:
        if not isinstance(image, str):
            return content_hash(image)
        if image not in self._hashes:
            self._hashes[image] = content_hash(image)
        return self._hashes[image]

    @staticmethod
    def _key(aligned: dict[str, Any], images: list[bytes]) -> bytes:
        """Case, white space and placeholders do not make a prompt another one."""
        words = " ".join(_text(message["content"]) for message in aligned["_prompt"])
        for placeholder in PLACEHOLDERS.values():
            words = words.replace(placeholder, " ")
        return digest(_SPACE.sub(" ", words).strip().casefold(), *images)
