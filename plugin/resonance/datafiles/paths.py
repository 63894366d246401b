# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: where a path of another machine is on this one. Three ways, each a function of one path.

``/`` and ``\\`` are both separators in the paths that come in, however mixed; what comes out has ``/``.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Protocol

from ..rows.media_paths import decoded, is_base64, is_elsewhere, local_path, path_problem

__all__ = [
    "Anchor",
    "Prefixes",
    "Refused",
    "Relocate",
    "Search",
    "decoded",
    "is_base64",
    "is_elsewhere",
    "local_path",
    "path_problem",
]


class Relocate(Protocol):
    """Old path -> new path, or None if the way does not apply to it, and `misses` says why. Raises Refused."""

    misses: str

    def __call__(self, path: str) -> str | None: ...


SHOWN = 5  # candidates told
_BOTH = "/\\"
_SEPARATORS = re.compile(r"[/\\]+")
_DRIVE = re.compile(r"[A-Za-z]:")


class Refused(ValueError):
    """A path that has no single safe place. ``kind`` is "ambiguous" or "climbs out"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Anchor:
    """Keep what follows the last folder `marker`, and put it below `root`.

    Args:
        marker: a folder's name, or several with separators: ``MM-RLHF``, ``data/images``. Whole names match only.
        root: the folder that takes the marker's place.
    """

    def __init__(self, marker: str, root: str) -> None:
        if not marker.strip(_BOTH):
            raise ValueError("--marker is empty; give the name of a folder in the paths.")
        self.root = root
        self.misses = f"has no folder '{marker}' with something behind it"
        self.pattern = re.compile(rf"(?s)(?:.*[/\\])?{_pattern(marker.strip(_BOTH))}[/\\]+(.*)")

    def __call__(self, path: str) -> str | None:
        found = self.pattern.fullmatch(path)
        return _below(self.root, found[1]) if found and found[1] else None


class Prefixes:
    """Exchange the start of a path; the longest of several that fit.

    Args:
        pairs: (old start, new start). Only whole names count: ``/a/data`` is no start of ``/a/database``.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        if any(not old for old, _ in pairs):
            raise ValueError("--from is empty; give the start of the paths as it is now.")
        self.misses = "starts with none of --from"
        starts = [old.rstrip(_BOTH) for old, _ in pairs]
        if twice := sorted({start for start in starts if starts.count(start) > 1}):
            raise ValueError(f"--from {', '.join(twice)} is given twice.")
        ordered = sorted(pairs, key=lambda pair: len(_SEPARATORS.split(pair[0].rstrip(_BOTH))), reverse=True)
        self.pairs = [(re.compile(rf"(?s){_pattern(old.rstrip(_BOTH))}(?:[/\\]+(.*))?"), new) for old, new in ordered]

    def __call__(self, path: str) -> str | None:
        for pattern, new in self.pairs:
            if found := pattern.fullmatch(path):
                return _below(new, found[1]) if found[1] else new.rstrip(_BOTH) or new
        return None


class Search:
    """Find the file below `root` whose path has the most names, counted from the end, in common with the old one.

    Two ways to be wrong are refused as ambiguous: several files that fit equally well, and old paths from different
    folders that lead to one file by its name alone.

    Attributes:
        by_name: how many paths were found by the file's name alone.
    """

    def __init__(self, root: str) -> None:
        if not os.path.isdir(root):
            raise ValueError(f"--search {root}: no such folder.")
        self.root = root
        self.misses = f"no file of that name is below {root}"
        self.index = _index(root)
        self.by_name = 0
        self.came_from: dict[str, str] = {}

    def __call__(self, path: str) -> str | None:
        names = _SEPARATORS.split(_plain(path))
        candidates = self.index.get(names[-1], [])
        common = [_common_end(names, _plain(candidate).split("/")) for candidate in candidates]
        best = [candidate for candidate, count in zip(candidates, common, strict=True) if count == max(common)]
        if not best:
            return None
        if len(best) > 1:
            listed = ", ".join(sorted(best)[:SHOWN]) + (f" and {len(best) - SHOWN} more" if len(best) > SHOWN else "")
            raise Refused("ambiguous", f"{len(best)} files below {self.root} fit equally well: {listed}")
        if max(common) == 1:
            folder = "/".join(names[:-1])
            if (first := self.came_from.setdefault(best[0], folder)) != folder:
                raise Refused(
                    "ambiguous",
                    f"{best[0]} below {self.root} fits by its name alone, and it was taken for the one in '{first}'",
                )
            self.by_name += 1
        return os.path.join(self.root, best[0])


def _pattern(path: str) -> str:
    """A pattern for a path with separators of either kind, and drive letters in either case."""
    names = _SEPARATORS.split(path)
    return r"[/\\]+".join(f"(?i:{name})" if _DRIVE.fullmatch(name) else re.escape(name) for name in names)


def _below(root: str, rest: str) -> str:
    rest = rest.replace("\\", "/")
    if os.path.normpath(rest).split(os.sep)[0] == os.pardir:
        raise Refused("climbs out", f"'{rest}' leads out of {root}")
    return os.path.join(root, rest)


def _plain(path: str) -> str:
    """Composed letters: macOS writes file names decomposed, data files mostly do not."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _index(root: str) -> dict[str, list[str]]:
    """Files below a folder by name, as paths relative to it. Links to folders are followed once."""
    index: dict[str, list[str]] = {}
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (place := (status.st_dev, status.st_ino)) in seen:
            subfolders.clear()
            continue
        seen.add(place)
        subfolders.sort()
        relative = Path(os.path.relpath(folder, root))
        for name in names:
            index.setdefault(_plain(name), []).append((relative / name).as_posix())
    return index


def _common_end(left: list[str], right: list[str]) -> int:
    pairs = zip(reversed(left), reversed(right), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
