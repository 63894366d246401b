# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Texts that stand where the path of a medium should: addresses, `file://`, `~`, base64. Standard library only.

Training opens files by their paths and nothing else. `data check`, `data fix-paths`, `data import` and training all
judge by `path_problem`, so that they say the same.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from urllib.parse import unquote, urlsplit

SHOWN = 200  # characters of a path in a message
_DATA = re.compile(r"data:[\w.+-]*/[\w.+-]*(;[\w=.+-]*)*,", re.ASCII)
# How JPEG, PNG, GIF, WebP, BMP, TIFF and films begin in base64, whose letters alone follow: no path is like that.
_BASE64 = re.compile(r"(/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk[0-3]|SUkqA|TU0AK|AAAA)[A-Za-z0-9+/\s]{100}")
# Any other: that many of its letters, capitals, small ones and digits among the first. No folders are named like that.
_LETTERS = re.compile(r"(?=.{0,99}[A-Z])(?=.{0,99}[a-z])(?=.{0,99}\d)[A-Za-z0-9+/\s]{1000}", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def path_problem(text: str) -> str | None:
    """Why a text is no path that training can open, and what to write instead; None if it may be one."""
    if is_base64(text):
        return f"is base64 text of {len(text):,} characters ({text[:24]!r}...): `resonance data import` decodes it"
    local = local_path(text)
    if text.startswith("file://"):
        return f"{shown(text)} is the address of a file: write {shown(local)}, as `resonance data fix-paths` does"
    if is_elsewhere(text):
        return f"{shown(text)} is an address: images, videos and audios are not fetched, download it"
    if local != text:
        return f"{shown(text)}: `~` is not expanded: write {shown(local)}, as `resonance data fix-paths` does"
    return None


def local_path(text: str) -> str:
    """The path that `file://` or `~` stands for; any other text as it is."""
    if text.startswith("file://"):
        return unquote(urlsplit(text).path) or text
    return os.path.expanduser(text) if text.startswith("~") else text


def is_base64(text: str) -> bool:
    """Whether a text is the bytes of a file as base64, with or without ``data:...,`` before it."""
    return bool(_DATA.match(text) or _BASE64.match(text) or _LETTERS.match(text))


def is_elsewhere(text: str) -> bool:
    """Whether a text names or holds something that is no file of this machine: an address, or base64 text."""
    return is_base64(text) or bool(_ADDRESS.match(text)) and not text.startswith("file://")


def decoded(text: str) -> bytes | None:
    """The bytes of a text that `is_base64`; None if they cannot be decoded."""
    head = _DATA.match(text)
    try:
        return base64.b64decode(text[head.end() if head else 0 :], validate=False)
    except (binascii.Error, ValueError):
        return None


def shown(path: str) -> str:
    """A path for a message: quoted, and cut."""
    return repr(path) if len(path) <= SHOWN else f"{path[:SHOWN]!r}... (+{len(path) - SHOWN})"
