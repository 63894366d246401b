# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where raw rows come from: a file, a folder, or the hub. `datasets` only for the hub."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..datafiles.read import SUFFIXES, RowReader, data_files
from .manifest import ROOT, Listed, keyed_rows, listed
from .spec import Importer

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SPLIT = re.compile(r"(train|training|test|testing|validation|valid|val|dev|eval)(?=[-_.]|$)", re.IGNORECASE)
TRAIN = "train"  # the split that is read unless another one is asked for
# What `datasets` and we write beside rows, and what holds none.
NOT_ROWS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
SKIPS = ".skipped.jsonl"


@dataclass
class Raw:
    """A raw row, a dict if it is sound, and where it was: the file or hub set, and its number there, from 0.

    Attributes:
        folder: what its paths are relative to; None for the hub.
        error: why there is no value.
    """

    value: Any
    file: str
    row: int
    folder: Path | None = None
    error: str | None = None


class Source(Protocol):
    """Rows in a fixed order, that can be taken up again behind any one of them."""

    done: float

    def identity(self) -> dict[str, Any]:
        """What must not change between two starts of one import."""

    def rows(self, position: Any = None) -> Iterator[Raw]:
        """The rows behind `position`, all if None."""

    def position(self) -> Any:
        """JSON that stands for the place behind the row that was handed out last."""


@dataclass
class Files:
    """The rows of data files on this machine, one file after the other.

    Attributes:
        files: in order.
        listed: those that a manifest lists, with where their images are.
        keyed: the column for the keys of a file that is one JSON object of rows.
    """

    files: list[Path]
    listed: dict[Path, Listed] = field(default_factory=dict)
    keyed: str | None = None
    done: float = field(default=0.0, init=False)
    _at: list[int] = field(default_factory=lambda: [0, 0], init=False)

    def identity(self) -> dict[str, Any]:
        stats = [(file, file.stat(), self.listed.get(file)) for file in self.files]
        return {
            str(file.resolve()): [stat.st_size, stat.st_mtime_ns, *([of.root] if of else [])]
            for file, stat, of in stats
        }

    def rows(self, position: Any = None) -> Iterator[Raw]:
        self._at = list(position or (0, 0))
        while self._at[0] < len(self.files):
            number, start = self._at
            for raw in self._of_file(number):
                if raw.row >= start:
                    self._at[1] = raw.row + 1
                    yield raw
            self._at = [number + 1, 0]

    def _of_file(self, number: int) -> Iterator[Raw]:
        """All rows of a file, those that cannot be read in their places."""
        path, wrong = self.files[number], list[Raw]()
        folder, root = self.listed.get(path, (path.resolve().parent, None))
        if self.keyed is not None and (rows := keyed_rows(path, self.keyed)) is not None:
            yield from (Raw(value, str(path), row, folder) for row, value in enumerate(rows))
            return
        reader = RowReader(path, lambda row, why: wrong.append(Raw(None, str(path), row, error=why)))
        for row, value in reader:
            self.done = (number + reader.done) / len(self.files)
            yield from wrong
            wrong.clear()
            yield Raw({ROOT: root} | value if root and isinstance(value, dict) else value, str(path), row, folder)
        yield from wrong

    def position(self) -> Any:
        return list(self._at)


@dataclass
class Hub:
    """A set on the hub, streamed: nothing but the rows at hand is in memory or on disk, pictures are not decoded."""

    hub_id: str
    split: str
    file: str | None = None  # of the set; None for what its card names
    done: float = field(default=0.0, init=False)
    _stream: Any = field(default=None, init=False)
    _row: int = field(default=0, init=False)

    def identity(self) -> dict[str, Any]:
        return {self.hub_id: self.split, "file": self.file}

    def rows(self, position: Any = None) -> Iterator[Raw]:
        row = 0
        try:
            import datasets  # seconds, and needed for the hub only

            stream = datasets.load_dataset(self.hub_id, split=self.split, data_files=self.file, streaming=True)
            self._stream = stream.decode(False) if stream.features else stream  # JSON says no features
            if position is not None:
                row = position["row"]
                self._stream.load_state_dict(position["stream"])
            for value in self._stream:
                self._row = row = row + 1
                yield Raw(value, self.hub_id, row - 1)
        except Exception as error:  # whatever the hub's client, the network or a foreign file raises
            wanted = " ".join(filter(None, (self.hub_id, self.file)))
            raise ValueError(
                f"{self.hub_id!r} is no path here, and its split {self.split!r} cannot be read from the hub "
                f"behind row {row} ({type(error).__name__}: {error}). Download it and give the folder: "
                f"hf download --repo-type dataset {wanted} --local-dir FOLDER"
            ) from error

    def position(self) -> Any:
        return {"row": self._row, "stream": self._stream.state_dict()}


def find_source(given: str, split: str | None, importer: Importer, hub_file: str | None = None) -> Source:
    """Turn what was typed into a source. What exists on this machine wins over the hub.

    Args:
        given: a file, a folder, or ``owner/name``.
        split: asked for; None if nothing was.
        importer: knows how the files of the set are named, and how they hold its rows.
        hub_file: the file to read of a hub set; None for what its card names.

    Raises:
        ValueError: if there is no such file and it cannot be a hub id, or the split or the files are not clear.
    """
    path = Path(given).expanduser()
    if path.exists():
        files = _files_of(path, split, importer.files)
        lists = [file for file in files if file.name == importer.manifest]
        if lists and lists == files:
            of = {file: where for each in lists for file, where in listed(each).items()}
            return Files(list(of), of)
        return Files(files, keyed=importer.keyed)
    if not HUB_ID.fullmatch(given) or path.suffix.lower() in (*SUFFIXES, ".zip", ".tar", ".gz", ".tgz"):
        raise ValueError(
            f"'{given}' is no file or folder here (looked in {Path.cwd()}), and no hub id, which is OWNER/NAME."
        )
    return Hub(given, split or TRAIN, hub_file)


def _files_of(path: Path, split: str | None, patterns: tuple[str, ...]) -> list[Path]:
    if path.is_file():
        if split is not None:
            raise ValueError(f"--split {split} is for the hub and for folders; {path} is one file.")
        return data_files(path)
    found = [file for file in data_files(path) if file.name not in NOT_ROWS and not file.name.endswith(SKIPS)]
    matching = ([file for file in found if fnmatch.fnmatch(file.name, pattern)] for pattern in patterns)
    if not (files := next(filter(None, matching), [])):
        names = ", ".join(sorted({file.name for file in found})[:10]) or "none"
        raise ValueError(f"{path}: no data file named {' or '.join(patterns)} in this folder; it has {names}.")
    files = _of_split(files, split, path)
    suffixes = sorted({file.suffix.lower() for file in files})
    if len(suffixes) > 1:
        types = f"files of several types ({', '.join(suffixes)}), perhaps the same rows twice"
        raise ValueError(f"{path}: has {types}; give one of the files, or a folder of one type.")
    return files


def _of_split(files: list[Path], split: str | None, path: Path) -> list[Path]:
    """Those of the split, where files or their folders are named after splits, as in a hub set's folder."""
    named = {file: _split_of(file, path) for file in files}
    if not any(named.values()):
        if split is not None:
            raise ValueError(f"{path}: no file here is named after a split, so --split {split} cannot be met.")
        return files
    wanted = _short(split or TRAIN)
    if not (chosen := [file for file in files if named[file] == wanted]):
        there = ", ".join(sorted({name for name in named.values() if name}))
        raise ValueError(f"{path}: no file of split {split or TRAIN!r}; there are {there}. Give --split.")
    return chosen


def _split_of(file: Path, root: Path) -> str | None:
    for part in reversed(file.relative_to(root).parts):
        if match := SPLIT.match(part):
            return _short(match[1])
    return None


def _short(split: str) -> str:
    split = split.lower()
    return {"training": "train", "testing": "test", "valid": "validation", "val": "validation"}.get(split, split)
