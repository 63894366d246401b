# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What to type next for a data file: register it as an entry says, or import it. Every line printed here works."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from ...datafiles.columns import COLUMNS, MEDIA_COLUMNS, SCORE_FIELDS, TAGS
from ...datafiles.find import DataSet
from ...datafiles.infer import SETTINGS, infer_entry
from ...datafiles.info import INFO
from ...datafiles.read import data_files, read_rows
from ...datafiles.sample import SAMPLE, Table
from ...datafiles.scores import take_gapped
from ...importers.table import fitting
from . import common

_GROUPS = ("columns", "tags")
# What an entry is that does not say it.
_UNSAID = {"formatting": "alpaca", "ranking": False} | {f"tags.{tag}": name for tag, name in TAGS.items()}


def import_command(file: Path, out: Path = Path("data"), *, pairs: bool = False) -> str | None:
    """The import that makes something of the rows of a file, or pairs; None if no importer does."""
    with suppress(ValueError, OSError):
        row = next((row for _, row in read_rows(data_files(file)[0])), None)
        if isinstance(row, dict) and (names := fitting(row, pairs=pairs)):
            return common.typed("import", names[0], file, "--out", out)
    return None


def settings(file: Path, info_path: Path, entry: Mapping[str, Any]) -> list[str]:
    """The `--set`s with which `register` gives a file this entry; none where the rows tell it all."""
    given = {group: {key: name for key, name in (entry.get(group) or {}).items() if name} for group in _GROUPS}
    given |= {key: entry[key] for key in SETTINGS if entry.get(key)}
    wanted, told = _flat(given), _told(file, info_path, None)
    changed = {key: value for key, value in (_UNSAID | wanted).items() if told.get(key, _UNSAID.get(key)) != value}
    more = _told(file, info_path, given).keys() - wanted.keys()  # columns that would be found beside
    changed |= dict.fromkeys(sorted(key for key in more if key.startswith("columns.")), "")
    texts = {key: str(value).lower() if isinstance(value, bool) else value for key, value in changed.items()}
    return [word for key, text in texts.items() for word in ("--set", f"{key}={text}")]


def _told(file: Path, info_path: Path, given: dict[str, Any] | None) -> dict[str, Any]:
    with suppress(ValueError, OSError):
        entry = infer_entry(file, info_path, given)
        take_gapped(file, entry, given)
        return _flat(entry)
    return {}


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry by the keys that `register --set` knows."""
    inner = {f"{group}.{key}": name for group in _GROUPS for key, name in entry.get(group, {}).items()}
    return {key: entry[key] for key in SETTINGS if key in entry} | inner


def media_columns(file: Path, read: Collection[str]) -> dict[str, str]:
    """The media columns that an entry could name, by kind: the first of each that its values suit and nobody reads."""
    found = dict[str, str]()
    for name, kind in Table.of(file).unread(read).items():
        if kind is not None:
            found.setdefault(kind, name)
    return found


def register_copy(args: argparse.Namespace, data: DataSet, output: Path) -> str:
    """What registers a changed copy of a set beside the set itself, with its entry and the scores that were given."""
    beside = data.entry is not None and data.media_dir != common.info_path(args).parent
    where = ["--dataset-dir", str(data.media_dir)] if beside else common.info_options(args)
    scores = dict(zip(SCORE_FIELDS, args.columns or (), strict=False))
    if data.entry is None:
        same = [word for key, name in scores.items() for word in ("--set", f"columns.{key}={name}")]
    else:
        entry = {**data.entry, "columns": {**data.entry.get("columns", COLUMNS), **scores}}
        same = settings(output, (data.media_dir if beside else common.info_path(args).parent) / INFO, entry)
    return common.typed("register", output, *where, *same)


def media_root(file: Path, entry: Mapping[str, Any], info_path: Path) -> Path | None:
    """The folder of a file, if relative media paths of its first rows are found there and not where training looks."""
    paths = list(_media_paths(file, entry))
    beside = (file if file.is_dir() else file.parent).absolute()
    here = [path for path in paths if os.path.exists(info_path.parent / path) or os.path.exists(path)]
    return beside if len(here) < sum(os.path.exists(beside / path) for path in paths) else None


def _media_paths(file: Path, entry: Mapping[str, Any]) -> Iterator[str]:
    columns = [entry["columns"][key] for key in MEDIA_COLUMNS if key in entry["columns"]]
    for _, row in islice(read_rows(data_files(file)[0]), SAMPLE):
        waiting = [row.get(column) for column in columns] if isinstance(row, dict) else []
        while waiting:
            item = waiting.pop()
            if isinstance(item, list):
                waiting += item
            elif isinstance(item, dict):
                waiting.append(None if item.get("bytes") else item.get("path"))
            elif isinstance(item, str) and item and not os.path.isabs(item):
                yield item
