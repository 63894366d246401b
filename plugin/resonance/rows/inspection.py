# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows room: one aligned row -> what is wrong with it. Pure apart from opening image headers; decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from llamafactory.data.template import TEMPLATES
from llamafactory.extras.constants import AUDIO_PLACEHOLDER, IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER

from .media import file_problem, image_problem
from .plan import RowPlan, get_plan

INVALID_TURNS = "invalid turns"
EMPTY_RESPONSE = "empty response"
IDENTICAL_PAIR = "identical pair"
ANSWER_ROLES = ("assistant", "function")
MEDIA = (
    ("image", "_images", IMAGE_PLACEHOLDER),
    ("video", "_videos", VIDEO_PLACEHOLDER),
    ("audio", "_audios", AUDIO_PLACEHOLDER),
)


class Finding(NamedTuple):
    """``skip``: leave the row out (kind is the reason); otherwise it stops the run."""

    skip: bool
    kind: str
    found: str


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

        messages = [*row["_prompt"], *row["_response"][:2]]
        odd = next((m["content"] for m in messages if not isinstance(m["content"], str)), None)
        if odd is not None:
            return [Finding(False, "message not text", f"a message's content is {type(odd).__name__} {odd!r:.80}")]

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


def skip_reason(row: dict[str, Any]) -> str | None:
    """Why a row is no preference pair: turns that do not alternate, nothing said, or the same said twice."""
    prompt, response = row["_prompt"], row["_response"]
    if len(prompt) % 2 != 1 or len(response) < 2:  # what LlamaFactory itself drops
        return INVALID_TURNS
    if any(message["content"] is None for message in prompt):
        return INVALID_TURNS
    if any(message["role"] not in ANSWER_ROLES for message in response[:2]):
        return INVALID_TURNS
    chosen, rejected = (message["content"] for message in response[:2])
    if any(answer is None or (isinstance(answer, str) and not answer.strip()) for answer in (chosen, rejected)):
        return EMPTY_RESPONSE
    return IDENTICAL_PAIR if chosen == rejected else None


def placeholder_findings(row: dict[str, Any]) -> Iterator[Finding]:
    """Compare media with placeholders, for prompt + chosen and prompt + rejected alike, as the template will."""
    for name, column, placeholder in MEDIA:
        media = len(row[column] or [])
        in_prompt = sum(message["content"].count(placeholder) for message in row["_prompt"])
        for answer, message in zip(("chosen", "rejected"), row["_response"], strict=False):
            wanted = in_prompt + message["content"].count(placeholder)
            if wanted != media:
                plural = "s" * (media != 1)
                text = f"{media} {name}{plural} but {wanted} `{placeholder}` in prompt + {answer}"
                yield Finding(False, "placeholder count", text)
                break


def make_inspector(dataset_attr: Any, data_args: Any) -> RowInspector:
    """Build the inspector of one dataset from LlamaFactory's own arguments."""
    local = dataset_attr.load_from in ("script", "file")
    template = TEMPLATES.get(data_args.template)
    plugin = getattr(template, "mm_plugin", None)
    tokens = [getattr(plugin, f"{name}_token", None) for name, _, _ in MEDIA]
    return RowInspector(data_args.media_dir if local else None, any(tokens), get_plan(data_args))
