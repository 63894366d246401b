# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows room: why a JSON file cannot become a table. Runs only after reading it has failed. Standard library only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from .json_head import JsonHead
from .problems import Problem, explain

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
    """Find lines that are no JSON, and columns whose values have more than one type."""
    with open(file, encoding="utf-8") as stream:
        text = stream.read()
    try:
        rows = json.loads(text)
    except ValueError as error:
        if not file.endswith(".jsonl") and text.lstrip().startswith("["):
            return [Problem(file, None, "not JSON", f"{error}")]
        rows = []
        for number, line in enumerate(line for line in text.splitlines() if line.strip()):
            try:
                rows.append(json.loads(line))
            except ValueError as bad:
                return [Problem(file, number, "not JSON", f"{bad} in {line[:60]!r}")]
    if not isinstance(rows, list):
        return []
    late = late_columns(file, text) if file.endswith(".jsonl") or not text.lstrip().startswith("[") else []
    return mixed_columns(file, rows) + late


def late_columns(file: str, text: str) -> list[Problem]:
    """Report the columns of JSON lines that the start of the file shows too little of."""
    head, start, number = JsonHead(), 0, 0
    for line in text.split("\n"):
        if line.strip():
            row = json.loads(line)
            if isinstance(row, dict):
                head.add(number, row, start)
            number += 1
        start += len(line.encode()) + 1
    return [Problem(file, row, "late column", message) for row, message in head.problems()]


def mixed_columns(file: str, rows: list[Any]) -> list[Problem]:
    """Report each value whose type is not the one most rows have in that column."""
    problems = []
    no_rows = [i for i, row in enumerate(rows) if not isinstance(row, dict)]
    problems += [
        Problem(file, i, "row unreadable", f"a row is {type_name(rows[i])}, but a mapping is needed") for i in no_rows
    ]
    mappings = [(i, row) for i, row in enumerate(rows) if isinstance(row, dict)]
    columns: dict[str, list[tuple[int, Any]]] = {}
    for i, row in mappings:
        for place, value in places(row):
            columns.setdefault(place, []).append((i, value))
    for column, values in columns.items():
        counts = Counter(name for name, _ in {(type_name(value), i): None for i, value in values}).most_common()
        if len(counts) < 2:
            continue
        usual = counts[0][0]
        others = {i for i, value in values if type_name(value) == usual}
        strays = {i: value for i, value in reversed(values) if type_name(value) != usual}
        for i, value in reversed(strays.items()):
            found = (
                f"`{column}` is {type_name(value)} {value!r:.60}, where {len(others - {i})} other rows have {usual}"
            )
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
