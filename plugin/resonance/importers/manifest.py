# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""JSON objects in place of a list of rows: rows by their keys, and data files with the folders of their images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..datafiles.read import is_list

ROOT = "root"  # the column in which the rows of a listed file get their folder of images
SHOWN = 5  # missing files in a message


def keyed_rows(path: Path, column: str) -> list[dict[str, Any]] | None:
    """The rows of a file that is one JSON object of rows by their keys; None for any other file.

    Args:
        path: the file, which is read whole unless it is a list.
        column: that gets the key.
    """
    if path.suffix.lower() != ".json" or is_list(path):
        return None
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return None  # whoever reads it row by row says where it is wrong
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        return None
    return [{column: key} | row for key, row in rows.items()]


class Listed(NamedTuple):
    """A data file of a manifest: the folder that `root` starts from, and the folder of its images below that."""

    folder: Path
    root: str


def listed(manifest: Path) -> dict[Path, Listed]:
    """Return the data files of ``{"name": {"annotation": "X/annotations/a.jsonl", "root": "X/images/a"}}``, in order.

    Args:
        manifest: the file. Its paths start from its folder, or from the one above, as ``X`` does here.

    Raises:
        ValueError: if it is no such file, or a file that it lists is not there.
    """
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8-sig"))
        paths = [(str(entry["annotation"]), str(entry.get("root") or "")) for entry in entries.values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{manifest}: is no list of files, as {{"NAME": {{"root": "images/a", "annotation": "texts/a.jsonl"}}}}'
            f" ({type(error).__name__}: {error}); give one of the data files instead."
        ) from error
    folder, files, missing = manifest.resolve().parent, dict[Path, Listed](), list[str]()
    for path, root in paths:
        first, _, rest = path.partition("/")
        above = not (folder / path).is_file() and (folder / rest).is_file()
        file = folder / (rest if above else path)
        files[file] = Listed(folder, (root.removeprefix(f"{first}/") if above else root).rstrip("/"))
        missing += [] if file.is_file() else [path]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ValueError(
            f"{manifest}: {len(missing)} of the {len(paths)} files that it lists are not in {folder}: "
            f"{', '.join(missing[:SHOWN])}{more}. Unpack them there, or give a copy of the list without them."
        )
    return files
