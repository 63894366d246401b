# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: dataset_info.json, one entry of it changed and the rest left to the letter."""

from __future__ import annotations

import difflib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .read import RowError
from .write import back_up, replacing

INFO = "dataset_info.json"
PATIENCE = 5.0  # seconds to wait for another process's change
_KEY, _COLON = re.compile(r'[\s,]*(?=")'), re.compile(r"\s*:\s*")


@dataclass(frozen=True)
class Change:
    """What `register` did, or would do.

    Attributes:
        diff: a unified diff of the file; empty if the entry was there as it is.
        backup: the copy of the file as it was; None if there was none, nothing changed or this was a dry run.
    """

    diff: str
    backup: Path | None


def read_info(path: Path) -> dict[str, Any]:
    """Return the entries of a dataset_info.json by name; none if there is no such file.

    An entry that is no object does not stand in the way of the others.

    Raises:
        RowError: if it is no JSON object, or names an entry twice; says where.
    """
    return _parse(_text(path), path)


def register(
    info_path: Path, name: str, entry: dict[str, Any], *, force: bool = False, dry_run: bool = False
) -> Change:
    """Add an entry to a dataset_info.json, or change the entry of that name; every other letter stays.

    The file is replaced whole or not at all, after a copy to ``NAME.bak``; the oldest copy stays as ``NAME.orig``.
    While another process changes it, this one waits for PATIENCE seconds; neither loses the other's entry.

    Args:
        info_path: the dataset_info.json; made if absent.
        name: what recipes will call the set.
        entry: as `infer_entry` returns.
        force: change an entry of that name that is different.
        dry_run: return the diff, write nothing.

    Raises:
        ValueError: if the name cannot be used, the file cannot be read, or there is a different entry of that name
            and no force; shows the diff.
        OSError: if it cannot be written; BlockingIOError if another process is still writing it.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return _register(Path(info_path), name, entry, force, dry_run)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _register(info_path: Path, name: str, entry: dict[str, Any], force: bool, dry_run: bool) -> Change:
    if not name or name != name.strip() or "," in name:
        raise ValueError(
            f"{name!r} cannot be a set's name: recipes list names with commas between them, and spaces are cut off."
        )
    before = _text(info_path)
    entries = _parse(before, info_path)
    if entries.get(name) == entry:
        return Change("", None)
    after = _with_entry(before or "{}\n", name, entry)
    lines = before.splitlines(), after.splitlines()
    diff = "\n".join(difflib.unified_diff(*lines, str(info_path), str(info_path), lineterm=""))
    if name in entries and not force:
        raise ValueError(f"{info_path}: there is another entry {name!r}; --force changes it:\n{diff}")
    if dry_run:
        return Change(diff, None)
    with replacing(info_path, "wb") as file:
        backup = back_up(info_path) if info_path.exists() else None
        if _text(info_path) != before:  # the lock of `replacing` came after our reading
            raise BlockingIOError(f"{info_path}: another process has changed it just now; run again.")
        file.write(after.encode("utf-8"))
    return Change(diff, backup)


def _text(path: Path) -> str:
    """The text with its own line ends, empty if there is no file."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise RowError(f"{path}: is not UTF-8 ({error}); save it as UTF-8.") from error


def _parse(text: str, path: Path) -> dict[str, Any]:
    if not text:
        return {}

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RowError(f"{path}: {', '.join(twice)} is there twice in one object; delete one of the two.")
        return dict(pairs)

    try:
        entries = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise RowError(f"{path} (line {error.lineno}, column {error.colno}): {error.msg}.") from error
    except RowError:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand lists in lists
        raise RowError(f"{path}: cannot be read ({error}).") from error
    if not isinstance(entries, dict):
        raise RowError(f"{path}: is a {type(entries).__name__} where an object with an entry for each set is needed.")
    return entries


def _with_entry(text: str, name: str, entry: dict[str, Any]) -> str:
    """The text with an entry added at the end, or put in the place of the one of that name.

    Written in ASCII, because LlamaFactory reads this file in whatever encoding the machine prefers.
    """
    line_end = "\r\n" if "\r\n" in text else "\n"
    spans = _spans(text)
    indent = re.match(r"[{\s]*?\r?\n([ \t]+)\"", text)
    step = indent[1] if indent else "  "
    value = json.dumps(entry, indent=step).replace("\n", line_end + step)
    if name in spans:
        start, end = spans[name]
        return text[:start] + value + text[end:]
    added = f"{line_end}{step}{json.dumps(name)}: {value}"
    if spans:
        end = max(end for _, end in spans.values())
        return text[:end] + "," + added + text[end:]
    return text[: text.index("{") + 1] + added + line_end + text[text.rindex("}") :]


def _spans(text: str) -> dict[str, tuple[int, int]]:
    """Where the value of each key of the object in `text`, which is sound JSON, starts and ends."""
    decode = json.JSONDecoder().raw_decode
    spans: dict[str, tuple[int, int]] = {}
    at = text.index("{") + 1
    while (found := _KEY.match(text, at)) is not None:
        key, at = decode(text, found.end())
        start = _COLON.match(text, at).end()  # type: ignore[union-attr]  # sound JSON has one
        _, at = decode(text, start)
        spans[key] = (start, at)
    return spans
