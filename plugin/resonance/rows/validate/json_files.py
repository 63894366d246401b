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
from .json_lines import BLANK, pieces

MARK = "\ufeff"  # of the byte order
PEEK = 1 << 12  # characters in which the first one that is no space is looked for


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


def require_unmixed(files: Sequence[str]) -> None:
    """Look for `true` and `false` among the numbers of JSON lists, where `datasets` reads them as 1.0 and 0.0.

    Raises:
        ValueError: naming each.
    """
    findings = []
    for file in files:
        with open(file, encoding="utf-8") as stream:
            if _is_list(stream.read(PEEK)):
                stream.seek(0)
                findings += list(_types(file, json.load(stream, parse_constant=_constant), []).mixed(file))
    if findings:
        raise ValueError(explain(", ".join(files), findings))


def json_findings(file: str) -> Iterator[Finding]:
    """Yield lines that are no JSON, and values whose type differs from others of their column or comes too late."""
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
        rows = json.loads(text, parse_constant=_constant)
    except UnicodeDecodeError as error:
        yield Finding("not UTF-8", f"is not UTF-8 ({error})", file)
    except (ValueError, RecursionError) as error:
        if text.startswith(MARK) and _is_list(text[1:]):
            yield Finding("not UTF-8", "begins with a byte order mark", file)
        elif _is_list(text):
            yield Finding("not JSON", f"{error}", file)
        else:
            yield from _line_findings(file)
    else:
        unsound: list[Finding] = []
        types = _types(file, rows if isinstance(rows, list) else [], unsound)
        yield from unsound
        yield from types.mixed(file)
        yield from types.large(file)


def _constant(name: str) -> float | None:
    """NaN in a JSON list reads as null."""
    return None if name == "NaN" else float(name)


def _is_list(text: str) -> bool:
    return text.lstrip().startswith("[")


def _line_findings(file: str) -> Iterator[Finding]:
    rows: list[Any] = []
    head = JsonHead()
    with open(file, "rb") as stream:
        for _, start, text in pieces(stream):
            if not text.strip(BLANK):
                continue
            try:
                row = json.loads(text.decode("utf-8-sig"))
            except (ValueError, RecursionError) as bad:
                yield Finding("not JSON", f"{bad} in {text[:60].decode('utf-8', 'replace')!r}", file, len(rows))
                return
            if isinstance(row, dict):
                head.add(len(rows), row, start)
            rows.append(row)
    unsound: list[Finding] = []
    types = _types(file, rows, unsound)
    yield from unsound
    yield from types.mixed(file)
    yield from head.findings(file)


def _types(file: str, rows: list[Any], unsound: list[Finding]) -> ColumnTypes:
    """The types of the values of rows; rows that are no mappings are appended to `unsound`."""
    types = ColumnTypes()
    for i, row in enumerate(rows):
        if isinstance(row, dict):
            types.add(i, row)
        else:
            message = f"a row is {type_name(row)}, but a mapping is needed"
            unsound.append(Finding("row unreadable", message, file, i))
    return types
