# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which files a target stands for, and how LlamaFactory would read them. Imports no LlamaFactory."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...datafiles.columns import ALIASES, COLUMNS, FORMATTINGS, MEDIA_COLUMNS, NUMBERS, SCORE_FIELDS, TAGS
from ...datafiles.find import DataSet, find
from ...datafiles.flags import SUFFIX as FLAGS
from ...datafiles.info import INFO
from ...datafiles.read import SUFFIXES, TEXT
from ...datafiles.sample import Unclear
from ...datafiles.usual import infer_usual
from ...rows.fields import META, meta_problem
from ...rows.validate.json_lines import BLANK
from .prompts import Prompts, told_prompts

# files that lie beside data and hold none
OURS = (".skipped.jsonl", ".dropped.jsonl", ".unscored.jsonl", FLAGS, INFO)
TYPES = {
    suffix: "json" if suffix == ".jsonl" else suffix[1:] for suffix in (*SUFFIXES, TEXT)
}  # as LlamaFactory has it
_ANY = ("system", "tools", *MEDIA_COLUMNS, "kto_tag", "chosen", "rejected", *NUMBERS)
READ = {  # the columns that LlamaFactory's converters look at
    "alpaca": ("prompt", "query", "response", "history", *_ANY),
    "sharegpt": ("messages", *_ANY),
    "openai": ("messages", *_ANY),
}


@dataclass(frozen=True)
class Entry:
    """A data set as LlamaFactory will read it.

    Attributes:
        name: the name in dataset_info.json, or the file.
        files: its data files; rows are numbered in each of them.
        columns: what LlamaFactory calls a column -> its name in the file; only those that are declared.
        tags: the tags of messages; None for one that the entry leaves undefined.
        media_dir: the folder that media paths start from.
        origin: where the entry comes from, for the report.
        complaints: what is wrong with the entry itself, as (kind, message).
        guessed: it is in no dataset_info.json but told from the first rows.
        answers_alone: it says so itself; a rejected answer beside is left on purpose.
        prompts: what is known of it as a set of prompts; None if answers are to be learned.
    """

    name: str
    files: tuple[Path, ...]
    formatting: str
    ranking: bool
    columns: dict[str, str]
    tags: dict[str, str | None]
    media_dir: str
    origin: str
    complaints: tuple[tuple[str, str], ...] = ()
    guessed: bool = False
    answers_alone: bool = False
    prompts: Prompts | None = None

    @property
    def has_media(self) -> bool:
        return any(key in self.columns for key in MEDIA_COLUMNS)


def find_entries(target: str, dataset_dir: str, media_dir: str | None = None) -> list[Entry]:
    """Return the data sets that a name in dataset_info.json, a file or a folder stands for.

    A file that an entry describes is read by that entry, any other by what its first rows look like. A file goes
    before a name, and a name before a folder.

    Raises:
        ValueError: if there is nothing of that name, or it is loaded from a hub; says what there is.
    """
    info_path = Path(dataset_dir, INFO)
    if not target.strip():
        raise ValueError("a TARGET is empty: give a file, a folder or a name.")
    data = find(target, info_path)
    if data.raw is not None or data.path.is_file():
        return [_entry(data, info_path, media_dir)]
    files = [file for file in data.files if not file.name.endswith(OURS)]
    if not files:
        raise ValueError(f"{data.path}: no data file in this folder (looked for {', '.join(SUFFIXES)}).")
    return [_entry(find(str(file), info_path), info_path, media_dir) for file in files]


def _entry(data: DataSet, info_path: Path, media_dir: str | None) -> Entry:
    path = data.path
    if data.raw is not None:
        files = (path,) if path.is_file() else tuple(sorted(path.iterdir()))
        origin = f"entry {data.name!r} of {data.info}"
        entry = parse_entry(str(data.name), files, data.raw, media_dir or str(data.media_dir), origin)
        wrong = [("entry", complaint) for complaint in _unloadable(data)]
        readable = tuple(file for file in files if file.is_file() and file.suffix.lower() in TYPES)
        return replace(entry, files=readable or (path,), complaints=(*wrong, *entry.complaints))
    inside = path.resolve().is_relative_to(info_path.parent.resolve())
    media_dir = media_dir or str(info_path.parent if inside else path.parent)
    try:
        told = "read as its first rows look"
        entry = parse_entry(str(path), (path,), infer_usual(path, info_path), media_dir, told)
        return replace(entry, guessed=True)
    except (ValueError, OSError) as error:  # the scan tells of a file of which no row can be read
        told = f"{error.problem}. Columns found: {error.found}" if isinstance(error, Unclear) else ""
        complaint = (("unknown columns", told),) * bool(told)
        return Entry(str(path), (path,), "alpaca", False, {}, dict(TAGS), media_dir, "unknown", complaint)


def parse_entry(name: str, files: tuple[Path, ...], raw: dict[str, Any], media_dir: str, origin: str) -> Entry:
    """Read an entry as LlamaFactory's parser does; what does not fit goes into `complaints`."""
    columns, tags = raw.get("columns"), raw.get("tags")
    complaints = [
        f"`{key}` is {type(value).__name__} {value!r:.60}, but an object is needed"
        for key, value in (("columns", columns), ("tags", tags))
        if key in raw and not isinstance(value, dict)
    ]
    formatting, ranking = raw.get("formatting", "alpaca"), bool(raw.get("ranking", False))
    if formatting not in FORMATTINGS:
        near = difflib.get_close_matches(str(formatting), FORMATTINGS, 1, cutoff=0.0)[0]
        complaints.append(f"`formatting` is {formatting!r}; there are {', '.join(FORMATTINGS)}. Did you mean {near}?")
    if not str(raw.get("split", "train")).startswith("train"):
        complaints.append(f"`split` is {raw['split']!r}, but the rows of files are all of the split 'train'")
    known = tuple(dict.fromkeys((*ALIASES, *NUMBERS)))
    unread = {"response"} if ranking else {"chosen", "rejected", *NUMBERS}
    given = columns if isinstance(columns, dict) else COLUMNS
    unread -= {"weight"} if given.get("kto_tag") else set()
    read = {key: given[key] for key in READ.get(formatting, known) if given.get(key) and key not in unread}
    complaints += [f"`columns.{key}` is {name!r}, not a name" for key, name in read.items() if type(name) is not str]
    entry = Entry(
        name=name,
        files=files,
        formatting=formatting,
        ranking=ranking,
        columns={key: column for key, column in read.items() if isinstance(column, str)},
        tags={tag: tags.get(tag) for tag in TAGS} if isinstance(tags, dict) else dict(TAGS),
        media_dir=media_dir,
        origin=origin,
        answers_alone=raw.get("ranking") is False,
    )
    complaints += _undeclared(entry)
    meta = columns.get(META) if isinstance(columns, dict) else None
    if problem := meta_problem(meta):
        complaints.append(problem)
    elif files and files[0].suffix.lower() != TEXT and not ranking and "kto_tag" not in entry.columns:
        entry = replace(entry, prompts=told_prompts(files[0], formatting, entry.columns, entry.tags, meta))
    found = [("entry", complaint) for complaint in complaints]
    found += [
        ("entry unread", complaint) for complaint in _unread(columns, (*known, META)) + _unread(tags, tuple(TAGS))
    ]
    return replace(entry, complaints=tuple(found))


def _unloadable(data: DataSet) -> Iterator[str]:
    """What keeps LlamaFactory from reading the files of an entry at all."""
    names = [file.name for file in sorted(data.path.iterdir())] if data.path.is_dir() else [data.path.name]
    kinds = {name: TYPES.get(os.path.splitext(name)[1]) for name in names}
    if odd := [name for name, kind in kinds.items() if kind is None]:
        yield (
            f"LlamaFactory reads no file like {', '.join(odd[:3])}: names end in {', '.join(TYPES)}, in small letters"
            + ", and a folder holds such files alone" * data.path.is_dir()
        )
    elif len(set(kinds.values())) > 1:
        yield f"LlamaFactory reads files of one type; there are {', '.join(sorted(filter(None, set(kinds.values()))))}"
    for file in (data.path / name for name in names) if data.path.is_dir() else (data.path,):
        path = os.path.abspath(file)
        if "::" in path or (glob.has_magic(path) and [os.path.abspath(each) for each in glob.glob(path)] != [path]):
            yield f"`datasets` takes the path {path} for a pattern; rename the file or folder"
            break
    if data.info is not None and data.info.read_bytes().startswith(BLANK[:3]):
        yield f"{data.info} begins with a byte order mark, at which LlamaFactory stops; save it as UTF-8 without"


def _undeclared(entry: Entry) -> Iterator[str]:
    """What the entry lacks."""
    needed = ("chosen", "rejected") * entry.ranking + ("messages",) * (entry.formatting != "alpaca")
    if entry.formatting == "alpaca" and not {"prompt", "query", "response", "chosen"} & entry.columns.keys():
        needed = ("prompt", *needed)
    for key in needed:
        if key not in entry.columns:
            yield f'no column for `{key}`: add `"{key}": "<column>"` under "columns"'
    for tag in ("role_tag", "content_tag", "user_tag", "assistant_tag") * (entry.formatting != "alpaca"):
        if entry.tags[tag] is None:
            yield f'no `{tag}`: with "tags" in the entry LlamaFactory forgets its default; add it'
    scores = [key for key in SCORE_FIELDS if key in entry.columns]
    if len(scores) == 1:
        yield f"`{scores[0]}` has a column, but the other score has none"


def _unread(given: Any, known: tuple[str, ...]) -> list[str]:
    """Names in an entry that are passed over without a word."""
    strays = [key for key in given if key not in known] if isinstance(given, dict) else []
    near = {key: difflib.get_close_matches(key, known, 1) for key in strays}
    return [f"nobody reads `{key}`" + (f"; did you mean `{near[key][0]}`?" if near[key] else "") for key in strays]
