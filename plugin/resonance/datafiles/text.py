# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Words of reports, and text of unknown origin made fit for a terminal. Standard library only."""

from __future__ import annotations

from hashlib import blake2b

DIGEST = 16  # bytes


def digest(*parts: str | bytes) -> bytes:
    """A hash; parts do not run into each other."""
    return blake2b(repr(parts).encode(), digest_size=DIGEST).digest()


def printable(text: str) -> str:
    """Escape what a terminal would act on or not show: control characters, surrogates, marks of direction."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def shorten(text: str, length: int) -> str:
    """Cut a text to `length` characters, and say how many there were more."""
    return text if len(text) <= length else f"{text[:length]}... (+{len(text) - length})"


def count(number: int, unit: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {unit}{'s' * (number != 1)}"
