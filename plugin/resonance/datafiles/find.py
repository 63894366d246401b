# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a user means by a file or a name of dataset_info.json, and which columns it has."""

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
    """A data set on this machine.

    Attributes:
        path: of its file or folder.
        media_dir: where its relative paths start, unless a recipe says otherwise.
        info: the dataset_info.json whose entry `name`, as it stands `raw`, describes it; None if none does.
    """

    path: Path
    media_dir: Path
    info: Path | None = None
    name: str | None = None
    raw: dict[str, Any] | None = None

    @property
    def files(self) -> list[Path]:
        return data_files(self.path)

    @property
    def file(self) -> Path:
        """The one file of the set; ValueError if it is a folder of several."""
        files = self.files
        if len(files) > 1:
            raise ValueError(f"{self.path}: holds {len(files)} files; give one: {', '.join(map(str, files[:5]))} ...")
        return files[0]

    @property
    def entry(self) -> dict[str, Any] | None:
        """The entry without groups that are null; ValueError for groups that are no objects."""
        if self.raw is None:
            return None
        entry = {key: value for key, value in self.raw.items() if value is not None}
        for group in ("columns", "tags"):
            if not isinstance(entry.get(group, {}), dict):
                raise ValueError(f"{self.info}, {self.name}: its {group} are no object but {entry[group]!r}.")
        return entry


def find(what: str, info_path: Path) -> DataSet:
    """Find a data set by the path of its file or folder, or by its name, which goes before a folder.

    A file takes its entry from the dataset_info.json given, else from the one beside it; None if neither knows it.

    Raises:
        ValueError: if there is neither such a file nor such a name; names the nearest.
    """
    path = Path(what)
    if os.path.isfile(path) or (os.path.isdir(path) and what not in read_info(info_path)):
        for info in dict.fromkeys((info_path, path.parent / INFO)):
            for name, entry in read_info(info).items():
                file_name = entry.get("file_name") if isinstance(entry, dict) else None
                if isinstance(file_name, str) and same_file(info.parent / file_name, path):
                    return DataSet(path, info.parent, info, name, entry)
        return DataSet(path, path.parent)
    path = _registered_path(what, info_path)
    return DataSet(path, info_path.parent, info_path, what, read_info(info_path)[what])


def _registered_path(what: str, info_path: Path) -> Path:
    """Where the file or folder of an entry is; ValueError if nothing on this machine is behind the name."""
    entries = read_info(info_path)
    if what not in entries:
        near = difflib.get_close_matches(what, entries, 3)
        known = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(entries) or 'none'}"
        raise ValueError(f"{what}: no such file, and no such name in {info_path} ({known}).")
    entry = entries[what]
    if not isinstance(entry, dict):
        raise ValueError(f"{info_path}, {what}: is {entry!r:.60}, but an object with a file_name is needed.")
    if (hub := next((entry[key] for key in HUBS if key in entry), None)) is not None:
        here = "only data sets on this machine are read here. Import or download it."
        if "hf_hub_url" in entry:
            here += f"\nNext: hf download --repo-type dataset {hub} --local-dir FOLDER"
            here += ", then resonance data register FOLDER or a file in it"
        raise ValueError(f"{what} is loaded from {hub}; {here}")
    if not isinstance(entry.get("file_name"), str):
        if "file_name" not in entry:
            raise ValueError(f"{info_path}, {what}: has no file_name.")
        found = f"{entry['file_name']!r:.60}"
        raise ValueError(f"{info_path}, {what}: `file_name` is {found}, but the name of a file or folder is needed.")
    path = info_path.parent / entry["file_name"]
    if not os.path.exists(path):
        raise ValueError(f"{what}: its file {path} is not there. Download it, or correct the entry in {info_path}.")
    return path


def entry_of(data: DataSet, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """The entry of a data set, inferred from its rows if there is none; ValueError if it cannot be."""
    entry = data.entry
    return infer_entry(data.path, data.media_dir / INFO, given) if entry is None else entry


def scores_of(data: DataSet, given: tuple[str, str] | None = None) -> tuple[str, str]:
    """The columns of the chosen and the rejected score: given, of the entry, or told by their names.

    Raises:
        ValueError: if there are none.
    """
    columns = (data.entry or {}).get("columns", {})
    named = given or (columns.get("score_chosen"), columns.get("score_rejected"))
    return (named[0], named[1]) if all(named) else score_columns(data.path)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder that is there."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
