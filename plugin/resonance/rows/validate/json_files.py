# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Why a JSON file cannot become a table. Runs only after reading it has failed. Standard library only."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from .column_types import ColumnTypes, type_name
from .findings import Finding, explain
from .json_head import JsonHead


def explain_unreadable(files: Sequence[str], error: BaseException) -> str | None:
    """Return which rows of which files broke the table, or the innermost cause if the files are no JSON.

    None if the files are sound and the error speaks for itself, as one about an unknown split does.
    """
    findings = [found for file in files if file.endswith((".json", ".jsonl")) for found in json_findings(file)]
    if findings:
        everything = f"`{shlex.join(['resonance', 'data', 'check', *files])}` lists what else is wrong with the rows."
        return f"{explain(', '.join(files), findings)}\n{everything}"
    if str(error).startswith("Unknown split"):
        return None
    while error.__cause__ is not None:
        error = error.__cause__
    cause = f"{error} ({type(error).__name__})"
    return f"Cannot read {', '.join(files)}: {cause}. Check that the file is whole and of its type."


def json_findings(file: str) -> Iterator[Finding]:
    """Yield lines that are no JSON, and values whose type differs from others of their column or comes too late."""
    with open(file, encoding="utf-8") as stream:
        text = stream.read()
    try:
        rows = json.loads(text)
    except ValueError as error:
        if not file.endswith(".jsonl") and text.lstrip().startswith("["):
            yield Finding("not JSON", f"{error}", file)
        else:
            yield from _line_findings(file, text)
    else:
        yield from _mixed_columns(file, rows if isinstance(rows, list) else [])


def _line_findings(file: str, text: str) -> Iterator[Finding]:
    rows: list[Any] = []
    head, start = JsonHead(), 0
    for line in text.split("\n"):  # not `splitlines`, which also splits at characters that stand within strings
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as bad:
                yield Finding("not JSON", f"{bad} in {line[:60]!r}", file, len(rows))
                return
            if isinstance(row, dict):
                head.add(len(rows), row, start)
            rows.append(row)
        start += len(line.encode()) + 1
    yield from _mixed_columns(file, rows)
    yield from head.findings(file)


def _mixed_columns(file: str, rows: list[Any]) -> Iterator[Finding]:
    types = ColumnTypes()
    for i, row in enumerate(rows):
        if isinstance(row, dict):
            types.add(i, row)
        else:
            yield Finding("row unreadable", f"a row is {type_name(row)}, but a mapping is needed", file, i)
    yield from types.mixed(file)
