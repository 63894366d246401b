# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: what a user means by a file or a name of dataset_info.json, and which columns it has."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .infer import infer_entry, score_columns
from .info import INFO, read_info
from .read import data_files

HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


@dataclass(frozen=True)
class DataSet:
    """A data set on this machine. ``media_dir`` is where its relative paths start, unless a recipe says otherwise."""

    path: Path
    entry: dict[str, Any] | None
    media_dir: Path

    @property
    def files(self) -> list[Path]:
        return data_files(self.path)

    @property
    def file(self) -> Path:
        """The one file of the set.

        Raises:
            ValueError: if it is a folder of several.
        """
        files = self.files
        if len(files) > 1:
            raise ValueError(f"{self.path}: holds {len(files)} files; give one: {', '.join(map(str, files[:5]))} ...")
        return files[0]


def find(what: str, info_path: Path) -> DataSet:
    """Find a data set by the path of its file or folder, or by its name, which goes before a folder.

    A file takes its entry from the dataset_info.json given, else from the one beside it; None if neither knows it.

    Raises:
        ValueError: if there is neither such a file nor such a name; names the nearest.
    """
    path = Path(what)
    if os.path.isfile(path) or (os.path.isdir(path) and what not in read_info(info_path)):
        for info in dict.fromkeys((info_path, path.parent / INFO)):
            if (name := name_of(path, info)) is not None:
                return DataSet(path, _sound(read_info(info)[name], info, what), info.parent)
        return DataSet(path, None, path.parent)
    path = registered_path(what, info_path)
    return DataSet(path, _sound(read_info(info_path)[what], info_path, what), info_path.parent)


def name_of(path: Path, info_path: Path) -> str | None:
    """The name of the entry of a dataset_info.json that describes a file or folder, None if there is none."""
    for name, entry in read_info(info_path).items():
        file_name = entry.get("file_name")
        if isinstance(file_name, str) and same_file(info_path.parent / file_name, path):
            return name
    return None


def registered_path(what: str, info_path: Path) -> Path:
    """Where the file or folder of an entry is.

    Raises:
        ValueError: if there is no such name, or nothing on this machine behind it.
    """
    entries = read_info(info_path)
    if what not in entries:
        near = difflib.get_close_matches(what, entries, 3)
        known = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(entries) or 'none'}"
        raise ValueError(f"{what}: no such file, and no such name in {info_path} ({known}).")
    entry = entries[what]
    if (hub := next((entry[key] for key in HUBS if key in entry), None)) is not None:
        raise ValueError(
            f"{what} is loaded from {hub}; only data sets on this machine are read here. Import or download it."
        )
    if not isinstance(entry.get("file_name"), str):
        raise ValueError(f"{info_path}, {what}: has no file_name.")
    path = info_path.parent / entry["file_name"]
    if not os.path.exists(path):
        raise ValueError(f"{what}: its file {path} is not there. Download it, or correct the entry in {info_path}.")
    return path


def _sound(entry: dict[str, Any], info_path: Path, what: str) -> dict[str, Any]:
    """The entry without groups that are null; raises ValueError for groups that are no objects."""
    entry = {key: value for key, value in entry.items() if value is not None}
    for group in ("columns", "tags"):
        if not isinstance(entry.get(group, {}), dict):
            raise ValueError(f"{info_path}, {what}: its {group} are no object but {entry[group]!r}.")
    return entry


def entry_of(data: DataSet, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """The entry of a data set, inferred from its rows if there is none.

    Raises:
        ValueError: if it cannot be.
    """
    return data.entry if data.entry is not None else infer_entry(data.path, data.media_dir / INFO, given)


def scores_of(data: DataSet, given: tuple[str, str] | None = None) -> tuple[str, str]:
    """The columns of the chosen and the rejected score: given, of the entry, or told by their names.

    Raises:
        ValueError: if there are none.
    """
    columns = (data.entry or {}).get("columns", {})
    named = given or (columns.get("score_chosen"), columns.get("score_rejected"))
    if all(named):
        return named[0], named[1]
    return score_columns(data.path)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder that is there."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
