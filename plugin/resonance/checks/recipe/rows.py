# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A look at the first rows of a recipe's data sets, as `resonance data check` judges all. Imports no LlamaFactory."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from ...arguments.places import DATASET_INFO, names
from ...datafiles.find import HUBS
from ...datafiles.info import read_info
from ...datafiles.layout import JsonLayout
from ...datafiles.read import RowError, read_rows
from ...datafiles.tables import TABLES, table_length
from ...datafiles.write import RowWriter
from ...rows.fields import SCORE_FIELDS, score_problem
from ...rows.validate.findings import EMPTY_RESPONSE, IDENTICAL_PAIR, INVALID_TURNS
from ..data.entry import Entry, find_entries
from ..data.judge import Judge, Options
from ..data.kinds import KINDS, Found
from ..data.rowfile import rows_of

LOOKED_AT = 200  # rows judged of each file
SCORED = 2000  # rows whose scores are read of each file
LEFT_OUT = (EMPTY_RESPONSE, IDENTICAL_PAIR, INVALID_TURNS)  # a training trains without such rows
SHOWN = 4  # problems of rows that are listed
COUNTED = 64 * 2**20  # bytes up to which the rows of a file are counted


@dataclass
class Look:
    """What the first rows of one data set show.

    Attributes:
        key: of the recipe: dataset or eval_dataset.
        name: of the set.
        rows: how many it has; None where they were not counted.
        errors, warnings, notes: messages that start with the key.
        scores: (chosen, rejected) of the rows that have both.
    """

    key: str
    name: str
    rows: int | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scores: list[tuple[float, float]] = field(default_factory=list)


def look_at_sets(given: Mapping[str, Any], imports: Mapping[str, str], errors: Sequence[str]) -> list[Look]:
    """Look at each set of a recipe that LlamaFactory would read from a file.

    Args:
        given: the recipe.
        imports: name of a set, or of its file without suffix -> the command that imports it.
        errors: found already; the rows of a set that one is about are not looked at.
    """
    folder = given.get("dataset_dir", "data")
    if given.get("tokenized_path") and Path(given["tokenized_path"]).is_dir():
        return []
    if not isinstance(folder, str) or not Path(folder, DATASET_INFO).is_file():
        return []
    try:
        info = read_info(Path(folder, DATASET_INFO))
    except ValueError as error:
        return [Look("dataset_dir", folder, errors=[f"dataset_dir: {error}"])]
    found = []
    for key in ("dataset", "eval_dataset"):
        for name in names(given.get(key)):
            if isinstance(info.get(name), dict) and not any(repr(name) in message for message in errors):
                found.append(_look(Look(key, name), given, folder, info[name], imports))
    return found


def _look(
    look: Look, given: Mapping[str, Any], folder: str, raw: Mapping[str, Any], imports: Mapping[str, str]
) -> Look:
    hub = next((raw[each] for each in HUBS if each in raw), None)
    if hub is not None:
        look.notes.append(f"{look.key}: {look.name} is loaded from {hub} when the run starts")
        return look
    file_name = raw.get("file_name")
    if not isinstance(file_name, str):
        return look  # the recipe check has told of it
    path = Path(folder, file_name)
    if not path.exists():
        command = imports.get(look.name) or imports.get(path.stem)
        cure = f"{look.key}: {look.name} is not here yet ({path}): {command}"
        missing = f"{look.key}: {look.name}: no file {path}; correct file_name in {folder}/{DATASET_INFO}"
        (look.notes if command else look.errors).append(cure if command else missing)
        return look
    media = given.get("image_root") or given.get("media_dir")
    try:
        (entry,) = find_entries(look.name, folder, str(media) if media else None)
    except ValueError as error:
        look.errors.append(f"{look.key}: {error}")
        return look
    look.errors += [f"{look.key}: {look.name}: {message}" for kind, message in entry.complaints if kind == "entry"]
    look.warnings += [f"{look.key}: {look.name}: {message}" for kind, message in entry.complaints if kind != "entry"]
    try:
        drawn = raw.get("num_samples")  # LlamaFactory takes so many, some of them twice if there are fewer
        look.rows = drawn if isinstance(drawn, int) else sum(map(count_rows, entry.files))
        _judge(look, entry, folder, str(given.get("stage", "sft")))
    except (RowError, OSError) as error:
        look.errors.append(f"{look.key}: {look.name}: {error}")
    return look


def _judge(look: Look, entry: Entry, folder: str, stage: str) -> None:
    """Judge the first rows, and gather scores."""
    problems: list[tuple[str, str]] = []
    columns = [entry.columns[key] for key in SCORE_FIELDS if key in entry.columns]
    for path in entry.files:
        rows = [row for _, row in islice(rows_of(entry, path, lambda *_: None)[1], SCORED)]
        missing = missing_columns(entry, rows)
        if len(rows) < SCORED:
            problems += missing
        else:  # further rows may have it
            seen = f"{look.key}: {look.name}: of the first {SCORED} rows of {path}:"
            look.warnings += [f"{seen} {text}" for _, text in missing]
        if not missing:
            judged = rows[: LOOKED_AT if stage in ("dpo", "rm") or not entry.ranking else 0]
            problems += [(kind, f"{path}, row {n}: {text}") for n, (kind, text) in judged_rows(entry, judged)]
        scores = [[row.get(column) for column in columns] for row in rows if isinstance(row, dict)]
        sound: Iterator[list[Any]] = (pair for pair in scores if len(pair) == 2 and not any(map(score_problem, pair)))
        look.scores += [(float(chosen), float(rejected)) for chosen, rejected in sound]
    left_out = [text for kind, text in problems if kind in LEFT_OUT]
    if left_out:
        told = f"{len(left_out)} of the first rows would be left out, as {left_out[0]}"
        look.warnings.append(f"{look.key}: {look.name}: {told}")
    errors = [(kind, text) for kind, text in problems if KINDS[kind].severity == "error" and kind not in LEFT_OUT]
    explained: set[str] = set()
    for kind, text in errors[:SHOWN]:
        cure = "" if kind in explained else f"\nTo do ({kind}): {KINDS[kind].fix}"
        explained.add(kind)
        look.errors.append(f"{look.key}: {look.name}: {text}{cure}")
    if errors:
        command = f"resonance data check {shlex.quote(look.name)} --dataset-dir {shlex.quote(folder)}"
        more = f"{len(errors) - SHOWN} problems more in the first rows; " if len(errors) > SHOWN else ""
        look.errors[-1] += f"\n{more}`{command}` lists those of all rows"


def judged_rows(entry: Entry, rows: Iterable[Any]) -> Iterator[tuple[int, Found]]:
    """What is wrong with each row for itself."""
    judge = Judge(entry, Options())
    for number, row in enumerate(rows):
        aligned, found = judge.aligned(row)
        if aligned is not None:
            found = judge.alone(row, aligned)
        yield from ((number, each) for each in found)


def missing_columns(entry: Entry, rows: Iterable[Any]) -> list[Found]:
    """Columns that the entry names and no row has."""
    from difflib import get_close_matches

    there = {column for row in rows if isinstance(row, dict) for column in row}
    found = []
    for key, column in entry.columns.items():
        if there and column not in there:
            near = get_close_matches(column, there, n=1)
            meant = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(sorted(there))}"
            found.append(("column missing", f"its entry names column `{column}` for `{key}`, no row has it; {meant}"))
    return found


def count_rows(path: Path) -> int:
    """Rows of a file; of a large one of text, from the length of its first."""
    size = path.stat().st_size
    if path.suffix.lower() in TABLES:
        return table_length(path)
    if size <= COUNTED:
        return sum(1 for _ in read_rows(path))
    first = [row for _, row in islice(read_rows(path), LOOKED_AT)]
    return round(size * len(first) / _size_of(first, path)) if first else 0


def _size_of(rows: Sequence[Any], path: Path) -> int:
    """Bytes of rows, written as the file has them."""
    if path.suffix.lower() not in (".json", ".jsonl"):
        return sum(len(f"{value},".encode(errors="replace")) for row in rows for value in row.values())
    text = StringIO()
    writer = RowWriter(text, **JsonLayout.of(path).to(path, path))
    for row in rows:
        writer.write(row)
    return len(text.getvalue().encode(errors="replace"))
