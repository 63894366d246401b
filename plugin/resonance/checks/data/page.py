# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""--html: one page that needs nothing else; thumbnails are in it. Every text is escaped."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from ...datafiles.write import replacing
from ...rows.validate.findings import Finding
from ...rows.validate.rules import image_source
from .findings import Findings
from .images import open_source
from .judge import has_error
from .kinds import KINDS
from .rowchecks import Found
from .scan import Scan
from .tally import Tally
from .text import verdict

SAMPLED, BAD_PICTURED, TABLE_ROWS = 24, 60, 500
SIDE = 112  # pixels of a thumbnail
LARGEST = 40_000_000  # pixels of an image that is decoded for one; JPEGs are decoded small
IMAGES_A_ROW = 3
TEXT = 400

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #ddd;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
.error{color:#a40000}.warning{color:#8a5a00}.cards{display:flex;flex-wrap:wrap;gap:.8rem}
.card{border:1px solid #ddd;border-radius:6px;padding:.6rem;width:15rem;font-size:.85rem;overflow-wrap:anywhere}
.card img{margin:0 .3rem .3rem 0;border-radius:3px}.bar{fill:#4a7ebb}svg text{font-size:11px;fill:#555}
.muted{color:#777}
"""


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
    """A text of at most TEXT characters, with characters that UTF-8 can hold."""
    text = content if isinstance(content, str) else repr(content)
    text = text if len(text) <= TEXT else text[:TEXT] + " ..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def thumbnail(image: Any) -> str | None:
    """A data URI of a small JPEG, None if the image cannot be decoded or is too large to."""
    try:
        source = image_source(image, None)
        if isinstance(source, Finding):
            return None
        with open_source(source) as file, Image.open(file) as opened:
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
    with replacing(path) as file:
        file.writelines(f"{line}\n" for line in page(scans, findings, gallery))


def page(scans: Sequence[Scan], findings: Findings, gallery: Gallery) -> Iterator[str]:
    """Yield the page's lines."""
    title = escape(", ".join(scan.entry.name for scan in scans))
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield f"<title>Data check: {title}</title><style>{STYLE}</style></head><body><h1>Data check: {title}</h1>"
    yield f"<p>{escape(verdict(scans, findings))}</p>"
    yield "<h2>Problems by kind</h2><table><tr><th>kind<th>severity<th>count<th>what to do</tr>"
    for group in findings.groups():
        kind = KINDS[group.kind]
        cells = (escape(group.kind), kind.severity, f"{group.count:,}", escape(kind.fix))
        yield f'<tr class="{kind.severity}"><td>' + "<td>".join(cells) + "</tr>"
    yield "</table>"
    for scan in scans:
        yield f"<h2>Numbers: {escape(scan.entry.name)}</h2>"
        yield from (svg for tally in scan.tallies.values() if (svg := histogram(tally)))
    yield from _table(findings)
    yield from _cards("Bad rows", gallery.bad)
    yield from _cards("A sample of all rows", gallery.sample())
    yield "</body></html>"


def _table(findings: Findings) -> Iterator[str]:
    yield "<h2>Rows with problems</h2>"
    yield f'<p class="muted">Worst first, at most {TABLE_ROWS}; rows count from 0.</p>'
    yield "<table><tr><th>file<th>row<th>kind<th>found</tr>"
    for problem in islice(findings.all(), TABLE_ROWS):
        row = "" if problem.row is None else str(problem.row)
        cells = (escape(shorten(text)) for text in (problem.file, row, problem.kind, problem.message))
        yield f'<tr class="{KINDS[problem.kind].severity}"><td>' + "<td>".join(cells) + "</tr>"
    yield "</table>"


def _cards(title: str, cards: Iterable[Card]) -> Iterator[str]:
    yield f'<h2>{escape(title)}</h2><div class="cards">'
    for each in cards:
        yield f'<div class="card"><div class="muted">{escape(each.file)}, row {each.row}</div>'
        yield "".join(f'<img src="{uri}" alt="">' for uri in each.thumbnails)
        yield "".join(f"<div><b>{escape(who)}</b> {escape(text)}</div>" for who, text in each.texts)
        for kind, message in each.found:
            yield f'<div class="{KINDS[kind].severity}">{escape(kind)}: {escape(shorten(message))}</div>'
        yield "</div>"
    yield "</div>"


def histogram(tally: Tally) -> str:
    """An SVG of a tally's bins, empty if it has no values."""
    bins = tally.bins()
    if not bins:
        return ""
    most, width = max(each.size for each in bins), 640 / len(bins)
    bars = []
    for i, each in enumerate(bins):
        height = 110 * each.size / most
        place = f'x="{i * width:.1f}" y="{120 - height:.1f}" width="{width - 2:.1f}" height="{height:.1f}"'
        told = f"{each.low:,.10g} to {each.high:,.10g}: {each.size:,}"
        bars.append(f'<rect class="bar" {place}><title>{told}</title></rect>')
        bars.append(f'<text x="{i * width:.1f}" y="134">{each.low:,.6g}</text>')
    heading = f"<p>{escape(tally.title)}: {escape(tally.summary())}</p>"
    return f'{heading}<svg viewBox="0 0 640 140" width="640" height="140" role="img">{"".join(bars)}</svg>'
