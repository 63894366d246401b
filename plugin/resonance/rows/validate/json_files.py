# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Why a JSON file cannot become a table. Runs only after reading it has failed. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from .findings import Problem, explain
from .json_head import JsonHead

NAMES = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}


def explain_unreadable(files: Sequence[str], error: BaseException) -> str | None:
    """Say which rows of which files broke the table, or repeat the innermost cause if the files are no JSON.

    None if the files are sound and the error speaks for itself, as one about an unknown split does.
    """
    problems: list[Problem] = []
    for file in files:
        if file.endswith((".json", ".jsonl")):
            problems += json_problems(file)
    if problems:
        return explain(", ".join(files), problems)
    if str(error).startswith("Unknown split"):
        return None
    while error.__cause__ is not None:
        error = error.__cause__
    cause = f"{error} ({type(error).__name__})"
    return f"Cannot read {', '.join(files)}: {cause}. Check that the file is whole and of its type."


def json_problems(file: str) -> list[Problem]:
    """Find lines that are no JSON, and columns whose values have more than one type or show it too late."""
    with open(file, encoding="utf-8") as stream:
        text = stream.read()
    try:
        rows = json.loads(text)
    except ValueError as error:
        if not file.endswith(".jsonl") and text.lstrip().startswith("["):
            return [Problem(file, None, "not JSON", f"{error}")]
        return line_problems(file, text)
    return mixed_columns(file, rows) if isinstance(rows, list) else []


def line_problems(file: str, text: str) -> list[Problem]:
    """The same for JSON lines."""
    rows: list[Any] = []
    head, start = JsonHead(), 0
    for line in text.split("\n"):  # not `splitlines`, which also splits at characters that stand within strings
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as bad:
                return [Problem(file, len(rows), "not JSON", f"{bad} in {line[:60]!r}")]
            if isinstance(row, dict):
                head.add(len(rows), row, start)
            rows.append(row)
        start += len(line.encode()) + 1
    late = [Problem(file, number, "late column", message) for number, message in head.problems()]
    return mixed_columns(file, rows) + late


def mixed_columns(file: str, rows: list[Any]) -> list[Problem]:
    """Report each value whose type is not the one most rows have in that column, or at that place within it."""
    problems, columns = [], dict[str, list[tuple[int, Any]]]()
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            told = f"a row is {type_name(row)}, but a mapping is needed"
            problems.append(Problem(file, i, "row unreadable", told))
            continue
        for place, value in places(row):
            columns.setdefault(place, []).append((i, value))
    for place, values in columns.items():
        having: dict[str, set[int]] = {}  # rows, by type
        for i, value in values:
            having.setdefault(type_name(value), set()).add(i)
        usual = max(having, key=lambda name: len(having[name]))
        strays: dict[int, Any] = {}  # the first one of a row
        for i, value in values:
            if type_name(value) != usual:
                strays.setdefault(i, value)
        for i, value in strays.items():
            others = len(having[usual]) - (i in having[usual])
            found = f"`{place}` is {type_name(value)} {value!r:.60}, where {others} other rows have {usual}"
            problems.append(Problem(file, i, "mixed column", found))
    return problems


def places(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) for all that is not null in a row: `column`, `column.key`, `column[]`, and so on."""
    for column, outer in row.items():
        if type(outer) not in (list, dict):
            if outer is not None:
                yield column, outer
            continue
        waiting: list[tuple[str, Any]] = [(column, outer)]
        while waiting:
            place, value = waiting.pop()
            if value is not None:
                yield place, value
            if type(value) is list:
                waiting += [(f"{place}[]", inner) for inner in reversed(value)]
            elif type(value) is dict:
                waiting += [(f"{place}.{key}", inner) for key, inner in reversed(value.items())]


def type_name(value: Any) -> str:
    """What a JSON value is, in words; whole and other numbers are one type."""
    return NAMES.get(type(value), type(value).__name__)
