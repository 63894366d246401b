# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One aligned row -> what is wrong with it. Pure apart from opening image headers; decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llamafactory.data.template import TEMPLATES

from ..fields import PLACEHOLDERS
from ..plan import RowPlan, get_plan
from .media import file_problem, image_problem
from .rules import Finding, placeholder_findings, skip_reason, text_finding


@dataclass(frozen=True)
class RowInspector:
    """Look at aligned rows, one by one or a table at a time.

    Args:
        media_dir: where relative media paths were looked up, None if they were not.
        counts_placeholders: whether the template expands ``<image>``; for a text-only one it is ordinary text.
        plan: what the run needs; part of the cache key of a scan.
    """

    media_dir: str | None
    counts_placeholders: bool
    plan: RowPlan

    def scan(self, table: Any) -> dict[str, list[str]]:
        """Inspect a pyarrow table of aligned rows; findings come back as JSON, empty text for a sound row."""
        findings = [self(row) for row in table.to_pylist()]
        return {"findings": [json.dumps(found, ensure_ascii=False) if found else "" for found in findings]}

    def __call__(self, row: dict[str, Any]) -> list[Finding]:
        """Return every finding of one row; a row to skip has exactly one."""
        reason = skip_reason(row)
        if reason is not None:
            return [Finding(True, reason, reason)]

        odd = text_finding(row)
        if odd is not None:
            return [odd]

        found = list(self._media_findings(row))
        if self.counts_placeholders:
            found.extend(placeholder_findings(row))
        return found

    def _media_findings(self, row: dict[str, Any]) -> Iterator[Finding]:
        for image in row["_images"] or []:
            problem = image_problem(image, self.media_dir)
            if problem is not None:
                yield Finding(False, *problem)
        for name, column in (("video", "_videos"), ("audio", "_audios")):
            for item in row[column] or []:
                problem = file_problem(name, item, self.media_dir) if isinstance(item, str) else None
                if problem is not None:
                    yield Finding(False, *problem)


def make_inspector(dataset_attr: Any, data_args: Any) -> RowInspector:
    """Build the inspector of one dataset from LlamaFactory's own arguments."""
    local = dataset_attr.load_from in ("script", "file")
    template = TEMPLATES.get(data_args.template)
    plugin = getattr(template, "mm_plugin", None)
    tokens = [getattr(plugin, f"{name}_token", None) for name in PLACEHOLDERS]
    return RowInspector(data_args.media_dir if local else None, any(tokens), get_plan(data_args))
