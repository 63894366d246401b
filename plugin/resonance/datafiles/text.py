# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: text of unknown origin, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape what a terminal would act on or not show: control characters, surrogates, marks of direction."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shorten(text: str, length: int) -> str:
    """Cut a text to `length` characters, and say how many there were more."""
    return text if len(text) <= length else f"{text[:length]}... (+{len(text) - length})"
