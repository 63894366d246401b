# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which data a run reads: short fingerprints of entries and local files, and short names. Pictures are not read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

_ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_HUB = ("hf_hub_url", "subset", "folder")  # what a source on the hub is named by
_WHOLE = 1 << 30  # bytes up to which a file is read whole
_BLOCK = 1 << 20


def source_fingerprints(names: Sequence[str] | None, dataset_dir: str | Mapping[str, Any]) -> dict[str, str | None]:
    """Twelve hexadecimal digits for each data set, by name.

    They change with the entry in dataset_info.json and with the content of local files, whatever these are called. A
    file over 1 GiB counts by its size and the first 4 KiB of every MiB; a set of the hub by its entry alone.

    A set that is not there has none.

    Args:
        names: of the recipe's `dataset` or `eval_dataset`.
        dataset_dir: of the recipe.
    """
    found: dict[str, str | None] = {}
    info = _entries(dataset_dir)
    for name in names or ():
        entry, digest = info.get(name), blake2b(digest_size=6)
        if isinstance(dataset_dir, str) and isinstance(entry, dict) and not any(key in entry for key in _ELSEWHERE):
            entry = dict(entry)
            place = Path(dataset_dir, str(entry.pop("file_name", "")))
            entry = entry if place.exists() else None
            for path in sorted(place.iterdir()) if place.is_dir() else [place]:
                for part in _contents(path):
                    digest.update(part)
        digest.update(json.dumps(entry, sort_keys=True).encode())
        found[name] = None if entry is None else digest.hexdigest()
    return found


class SourceNames:
    """What sources of rows are called in metrics and records: the data set, and of several files the file's stem, too.

    A source that is of none of the run's data sets keeps its own name, but for the path of a file.

    Args:
        data: LlamaFactory's data arguments of the run.
    """

    def __init__(self, data: Any) -> None:
        info = _entries(data.dataset_dir)
        names = dict.fromkeys((*(data.dataset or ()), *(data.eval_dataset or ())))
        self._entries = {name: info[name] for name in names if isinstance(info.get(name), dict)}
        self._folder = data.dataset_dir if isinstance(data.dataset_dir, str) else ""
        self._known: dict[str, str] = {}

    def __call__(self, source: str) -> str:
        """The short name of a source as rows carry it."""
        if source not in self._known:
            self._known[source] = self._found(Path(source)) or (
                Path(source).stem if Path(source).is_file() else source
            )
        return self._known[source]

    def _found(self, source: Path) -> str | None:
        for name, entry in self._entries.items():
            file = str(entry.get("file_name", ""))
            place = Path(self._folder, file) if file else Path(*(str(entry[key]) for key in _HUB if entry.get(key)))
            if source == place:
                return name
            if file and place in source.parents:
                return f"{name}/{source.stem}"
        return None


def _entries(dataset_dir: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of dataset_info.json; none where it is on the hub or cannot be read, which whoever loads it reports."""
    if not isinstance(dataset_dir, str):
        return dataset_dir
    try:
        info = json.loads(Path(dataset_dir, "dataset_info.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def _contents(path: Path) -> Iterator[bytes]:
    """Nothing for what is no file."""
    if not path.is_file():
        return
    size = path.stat().st_size
    yield str(size).encode()
    with path.open("rb") as file:
        for begin in range(0, size, _BLOCK):
            file.seek(begin)
            yield file.read(_BLOCK if size <= _WHOLE else 4096)
