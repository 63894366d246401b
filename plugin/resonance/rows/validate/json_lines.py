# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""JSON rows one after the other, each on a line or over several. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

BLANK = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, white space
BLOCK = (10 << 20) // 32  # bytes that `datasets` reads at once; only in a file of one block rows may span lines


def pieces(lines: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number, bytes before it, text) of each line, or of the lines of an object that spans several."""
    start, opened, whole = 0, 0, b""
    for number, line in enumerate(lines, 1):
        if whole and (line[:1] == b"{" or len(whole) > BLOCK):  # the one before has no end
            yield opened, start, whole
            start, whole = start + len(whole), b""
        if not whole:
            opened = number
        whole += line
        if whole.lstrip(BLANK)[:1] == b"{" and _goes_on(whole.rstrip()):
            continue
        yield opened, start, whole
        start, whole = start + len(whole), b""
    if whole:
        yield opened, start, whole


def _goes_on(text: bytes) -> bool:
    """Whether an object that a line opens does not end with the last line of the text."""
    if not text.endswith(b"}"):
        return b"\n" in text or text[-1:] in b"{[,:"
    if b"\n" not in text:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return True
    return False
