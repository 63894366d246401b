# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Values out of raw rows, or the reason why not. Standard library only."""

from __future__ import annotations

import json
import math
from typing import Any

from ..datafiles.columns import ALIASES
from ..datafiles.unread import is_rejected
from .spec import Example, Misshaped, MissingColumn, Skip


def value(row: dict[str, Any], *names: str) -> Any:
    """The first of these columns that the row has; MissingColumn if it has none, or only null."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    has = ", ".join(map(str, row)) or "no columns"
    raise MissingColumn(f"no column {' or '.join(names)}", f"the row has {has}")


def text(row: dict[str, Any], *names: str) -> str:
    """The text in the first of these columns that the row has; Skip if it is missing or not text."""
    found = value(row, *names)
    if not isinstance(found, str):
        raise Misshaped(f"{names[0]} is not text", f"{type(found).__name__}: {str(found)[:80]}")
    return found


def number(given: Any, name: str) -> float:
    """A finite number, also when written as text; Skip for anything else."""
    try:
        found = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):  # the last for whole numbers of hundreds of digits
        found = math.nan
    if not math.isfinite(found):
        raise Skip(f"{name} is not a number", repr(given)[:80])
    return found


def preferred(row: dict[str, Any], name: str) -> int:
    """Which of two answers a column says is the better one, 1 or 2; Skip if it says neither."""
    found: int = value(row, name)
    if found not in (1, 2):
        raise Skip("no answer is preferred", f"{name} is {found!r}, where 1 or 2 is needed")
    return found


def image(row: dict[str, Any], *names: str) -> Any:
    """The image in the first of these columns that holds one, embedded or as a path; Skip if all are empty."""
    value(row, *names)
    for name in names:
        if not is_empty(row.get(name)):
            return row[name]
    raise Skip("no image in the row", f"{' and '.join(names)} are empty")


def is_empty(reference: Any) -> bool:
    """Whether a column for an image holds none, as ``{"bytes": None, "path": None}``."""
    return not ((reference.get("bytes") or reference.get("path")) if isinstance(reference, dict) else reference)


def references(row: dict[str, Any], *names: str) -> list[Any]:
    """What the first of these columns holds that is not empty, as a list; none if all are absent or empty."""
    given: Any = next((row[name] for name in names if row.get(name)), [])
    return given if isinstance(given, list) else [given]


def media(row: dict[str, Any], kind: str) -> list[Any]:
    """The images, videos or audios of a row, from the first of the columns that are usually called so."""
    return references(row, *ALIASES[kind])


def scores(row: dict[str, Any]) -> tuple[float, float] | None:
    """The scores of both answers under their usual names, None if one has none; Skip if one is no number."""
    names = [
        next((name for name in ALIASES[key] if row.get(name) is not None), None)
        for key in ("score_chosen", "score_rejected")
    ]
    if names[0] is None or names[1] is None:
        return None
    return number(row[names[0]], names[0]), number(row[names[1]], names[1])


class ReadRow(dict[str, Any]):
    """A raw row that notes which of its columns are asked for, so that those left out can be named."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As a mapping's own."""
        self.read.add(name)
        return super().get(name, default)

    @property
    def unread(self) -> dict[str, Any]:
        """The columns with something in them that nobody has asked for."""
        return {name: held for name, held in self.items() if name not in self.read and held not in (None, "", [], {})}


def half_a_pair(example: Example, row: ReadRow) -> str | None:
    """The column with the rejected answer that an example without a pair leaves out; None if there is none."""
    return None if example.chosen is not None else next(filter(is_rejected, row.unread), None)


def below(reference: Any, folder: str) -> Any:
    """The part of a path below the last folder of that name, or all of it, with slashes as everywhere but on Windows.

    ``/data/MM-RLHF/short/1.jpg`` below ``MM-RLHF`` is ``short/1.jpg``. What is no path comes back as it is.
    """
    if not isinstance(reference, str):
        return reference
    path = reference.replace("\\", "/")
    _, found, rest = f"/{path}".rpartition(f"/{folder}/")
    return rest if found else path


def json_value(given: Any, name: str) -> Any:
    """A column as it is, or what its text is as JSON; Skip if that is none."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError as error:
        raise Skip(f"{name} is not JSON", f"{error}: {given[:80]}") from None


def json_object(given: Any, name: str) -> dict[str, Any]:
    """A column that holds an object, or one as JSON text; Skip if it is neither."""
    found = json_value(given, name)
    if not isinstance(found, dict):
        raise Misshaped(f"{name} is not an object", type(found).__name__)
    return found


def structs(columns: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The objects that an object of lists of one length stands for, as `datasets` makes of them; None for another."""
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    if len(lengths) != 1 or lengths == {-1}:
        return None
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def labels(row: dict[str, Any], *names: str) -> dict[str, str]:
    """Columns to keep beside, as text, so that their type is one in all rows; null ones are left out."""
    return {name: str(row[name]) for name in names if row.get(name) is not None}
