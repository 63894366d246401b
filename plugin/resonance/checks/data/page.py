# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""--html: one page that needs nothing else; thumbnails are in it. Every text is escaped (`page.html.j2`)."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from ...datafiles.write import replacing
from ...rows.validate.findings import Finding
from ...rows.validate.rules import image_source
from ...rows.vision.opening import open_image
from .findings import Findings
from .images import open_source
from .kinds import KINDS, Found, has_error
from .scan import Scan
from .text import verdict

SAMPLED, BAD_PICTURED, TABLE_ROWS = 24, 60, 500
SIDE = 112  # pixels of a thumbnail
LARGEST = 40_000_000  # pixels of an image that is decoded for one; JPEGs are decoded small
IMAGES_A_ROW = 3
TEXT = 400


@dataclass
class Card:
    """A row as it is shown: thumbnails as data URIs, the texts, what was found."""

    file: str
    row: int
    thumbnails: list[str]
    texts: list[tuple[str, str]]
    found: list[Found]


@dataclass
class Gallery:
    """Rows for the page: a fair sample of all, and the first bad ones. A `Scan.watch`."""

    seed: int = 0
    bad: list[Card] = field(default_factory=list)
    _sample: list[tuple[str, int, dict[str, Any], list[Found]]] = field(default_factory=list)
    _seen: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def __call__(self, file: str, row: int, aligned: dict[str, Any], found: list[Found]) -> None:
        """Take a row in, maybe in the place of another."""
        if has_error(found) and len(self.bad) < BAD_PICTURED:
            self.bad.append(card(file, row, aligned, found))
        self._seen += 1
        place = len(self._sample) if len(self._sample) < SAMPLED else self._random.randrange(self._seen)
        if place < SAMPLED:
            self._sample[place : place + 1] = [(file, row, aligned, found)]

    def sample(self) -> list[Card]:
        """The sampled rows, in order."""
        return [card(*each) for each in sorted(self._sample, key=lambda each: each[:2])]


def card(file: str, row: int, aligned: dict[str, Any], found: list[Found]) -> Card:
    """Make the card of a row; its images are decoded small, those that cannot be are left out."""
    thumbnails = [uri for image in (aligned["_images"] or [])[:IMAGES_A_ROW] if (uri := thumbnail(image))]
    texts = [(message["role"], shorten(message["content"])) for message in aligned["_prompt"]]
    names = ("chosen", "rejected") if len(aligned["_response"]) == 2 else ("answer",)
    texts += [(name, shorten(m["content"])) for name, m in zip(names, aligned["_response"], strict=False)]
    return Card(file, row, thumbnails, texts, found)


def shorten(content: Any) -> str:
    """A text of at most TEXT characters."""
    text = content if isinstance(content, str) else repr(content)
    return text if len(text) <= TEXT else text[:TEXT] + " ..."


def thumbnail(image: Any) -> str | None:
    """A data URI of a small JPEG, None if the image cannot be decoded or is too large to."""
    try:
        source = image_source(image, None)
        if isinstance(source, Finding):
            return None
        with open_source(source) as file, open_image(file) as opened:
            opened.draft("RGB", (SIDE, SIDE))
            if opened.width * opened.height > LARGEST:
                return None
            small = opened.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            out = BytesIO()
            small.save(out, "JPEG", quality=70)
    except Exception:  # the problem itself is in the list of findings
        return None
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def write_page(path: Path, scans: Sequence[Scan], findings: Findings, gallery: Gallery) -> None:
    """Write the page, whole or not at all."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(autoescape=True, loader=FileSystemLoader(Path(__file__).parent), finalize=_writable)
    environment.filters["shorten"] = shorten
    page = environment.get_template("page.html.j2").stream(
        title=", ".join(scan.entry.name for scan in scans),
        verdict=verdict(scans, findings),
        kinds=KINDS,
        groups=findings.groups(),
        scans=scans,
        problems=islice(findings.all(), TABLE_ROWS),
        table_rows=TABLE_ROWS,
        bad=gallery.bad,
        sample=gallery.sample(),
    )
    with replacing(path) as file:
        page.dump(file)


def _writable(value: Any) -> Any:
    """Text with characters that UTF-8 can hold; a row may have halves of one."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if type(value) is str else value
