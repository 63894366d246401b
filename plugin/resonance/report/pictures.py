# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whether a run is evaluated on pictures that it trains on, from its recipe and its local data files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from ..datafiles.info import INFO, read_info
from ..datafiles.read import SUFFIXES, data_files, read_rows
from .remark import Remark
from .run import Run

LARGEST = 200 << 20  # bytes of a data file that is read for this
MOST = 20_000  # pictures whose content is compared


def evaluated_on_training_pictures(run: Run) -> Remark | None:
    """Any picture of an evaluation set is, byte for byte, one of the training set's.

    Sets of a hub, sets that are not there any more and files over LARGEST are not looked at.
    """
    trained, evaluated = (set(_pictures(run.settings, key)) for key in ("dataset", "eval_dataset"))
    if not trained or not evaluated:
        return None
    same = trained & evaluated
    if len(trained) + len(evaluated) <= MOST:
        contents = {digest for path in trained if (digest := _content(path))}
        same |= {path for path in evaluated if _content(path) in contents}
    if not same:
        return None
    return Remark(
        "problem" if 2 * len(same) >= len(evaluated) else "warning",
        "Evaluated on pictures that it trains on",
        f"{len(same)} of {len(evaluated)} pictures of eval_dataset are in dataset, such as {min(same)}",
        "What is measured is partly memory.",
        "Hold out whole pictures, not rows: resonance data check EVAL --against TRAIN lists the rows.",
    )


def _pictures(settings: Mapping[str, Any], key: str) -> Iterator[str]:
    """Paths of the pictures of the data sets that a recipe names under a key."""
    folder, names = settings.get("dataset_dir", "data"), settings.get(key)
    if not isinstance(folder, str) or not isinstance(names, str | list):
        return
    try:
        info = read_info(Path(folder, INFO))
    except (OSError, ValueError):
        return
    for name in names.split(",") if isinstance(names, str) else map(str, names):
        entry = info.get(name.strip())
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
            columns = entry.get("columns")
            column = columns.get("images") if isinstance(columns, dict) else None
            media = settings.get("media_dir") or folder
            yield from _of_file(Path(folder, entry["file_name"]), column, str(media))


def _of_file(path: Path, column: Any, media_dir: str) -> Iterator[str]:
    if not isinstance(column, str) or path.suffix.lower() not in SUFFIXES and not path.is_dir():
        return
    try:
        for file in data_files(path):
            if file.stat().st_size > LARGEST:
                continue
            for _, row in read_rows(file, lambda *_: None):
                found = row.get(column) if isinstance(row, dict) else None
                for image in found if isinstance(found, list) else [found]:
                    if isinstance(image, str):
                        yield os.path.realpath(os.path.join(media_dir, image))
    except (OSError, ValueError):
        return


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file_digest(file, lambda: blake2b(digest_size=16)).digest()
    except OSError:
        return None
