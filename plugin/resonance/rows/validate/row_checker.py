# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One aligned row -> what is wrong with it. Pure apart from opening image headers; decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow
from llamafactory.data.template import TEMPLATES

from ...upstream import DataArguments
from ..fields import PLACEHOLDERS, ROW, SOURCE
from ..plan import RowPlan
from ..types import DatasetAttr, Row
from .findings import Finding
from .media import file_finding, image_finding
from .rules import placeholder_findings, skip_reason, text_finding


@dataclass(frozen=True)
class RowChecker:
    """Check aligned rows, one by one or a table at a time.

    Attributes:
        media_dir: where relative media paths were looked up, None if they were not.
        counts_placeholders: whether the template expands ``<image>``; for a text-only one it is ordinary text.
        plan: what the run needs; part of the cache key of a check.
    """

    media_dir: str | None
    counts_placeholders: bool
    plan: RowPlan

    def check_table(self, table: pyarrow.Table) -> dict[str, list[str]]:
        """Check a table of aligned rows; findings come back as JSON, empty text for a sound row."""
        findings = [self(row) for row in table.to_pylist()]
        return {"findings": [json.dumps(found, ensure_ascii=False) if found else "" for found in findings]}

    def __call__(self, row: Row) -> list[Finding]:
        """Return every finding of one row; a row to skip has exactly one."""
        return [finding.at(row[SOURCE], row[ROW]) for finding in self._findings(row)]

    def _findings(self, row: Row) -> Iterator[Finding]:
        if (reason := skip_reason(row)) is not None:
            yield Finding(reason, reason)
        elif (finding := text_finding(row)) is not None:
            yield finding
        else:
            yield from self._media(row)
            if self.counts_placeholders:
                yield from placeholder_findings(row)

    def _media(self, row: Row) -> Iterator[Finding]:
        found = [image_finding(image, self.media_dir) for image in row["_images"] or []]
        for name in ("video", "audio"):
            paths = (item for item in row[f"_{name}s"] or [] if isinstance(item, str))
            found += [file_finding(name, path, self.media_dir) for path in paths]
        return filter(None, found)


def make_row_checker(dataset_attr: DatasetAttr, data_args: DataArguments, plan: RowPlan) -> RowChecker:
    """Return the checker of one dataset."""
    local = dataset_attr.load_from in ("script", "file")
    plugin = getattr(TEMPLATES.get(data_args.template), "mm_plugin", None)
    expands = any(getattr(plugin, f"{name}_token", None) for name in PLACEHOLDERS)
    return RowChecker(data_args.media_dir if local else None, expands, plan)
