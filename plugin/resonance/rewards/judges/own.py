# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Our own API: a versioned JSON form with conversations, images and columns; see docs/judges.md.

POST /v1/score
{"version": 1, "items": [{"id": "0", "messages": [{"role": "user", "content": "<image>Which digit?"}],
                          "images": [{"data": "data:image/png;base64,..."}], "completion": "A 5.", "columns": {}}]}
{"version": 1, "scores": [{"id": "0", "score": 1.0, "reason": "It is a 5."}]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...wire import Client
from ..spec import Completions
from .api import Answer, AnswerError, Images, number_of, shown

VERSION = 1
FORM = '{"version": 1, "scores": [{"id": ..., "score": a number or null, "reason": an optional text}, ...]}'


@dataclass(frozen=True)
class OwnApi:
    """Attributes: batch_size: items of a call. columns: of the data, that are sent with each item."""

    batch_size: int
    columns: tuple[str, ...]
    path: str = "/v1/score"

    def identity(self) -> Mapping[str, Any]:
        return {"version": VERSION}

    def item(self, batch: Completions, row: int, images: Images) -> dict[str, Any]:
        kind = "path" if images.how == "path" else "data"
        return {
            "messages": [dict(message) for message in batch.conversations[row]],
            "images": [{kind: image} for image in images.sent(batch.images[row])],
            "completion": batch.completions[row],
            "columns": {name: batch.column(name)[row] for name in self.columns},
        }

    def body(self, rows: Sequence[int], items: Sequence[Any]) -> dict[str, Any]:
        return {"version": VERSION, "items": [{"id": str(row), **item} for row, item in zip(rows, items, strict=True)]}

    def answers(self, url: str, rows: Sequence[int], answer: Any) -> list[Answer]:
        scores = self._scores(url, answer)
        found: dict[str, Answer] = {}
        for entry in scores:
            name = entry.get("id") if isinstance(entry, Mapping) else None
            if not isinstance(name, str):
                raise AnswerError(url, f"each of its scores must be a mapping with a text `id`, as in {FORM}", entry)
            if name in found:
                raise AnswerError(url, f"the id {name!r} is in it twice; one score an item is expected", entry)
            found[name] = self._answer(url, entry)
        ids = [str(row) for row in rows]
        missing, unknown = [i for i in ids if i not in found], [i for i in found if i not in ids]
        if missing or unknown:
            parts = [f"no score for {_some(missing)}"] if missing else []
            parts += [f"scores for {_some(unknown)}, which it was not asked for"] if unknown else []
            raise AnswerError(url, f"it was asked for {len(ids)} and has {', and '.join(parts)}", answer)
        return [found[i] for i in ids]

    def check(self, client: Client) -> None:
        """Ask it to score nothing: a server of this version answers with no scores."""
        self.answers(client.url, [], client.post(self.path, self.body([], [])))

    def _scores(self, url: str, answer: Any) -> list[Any]:
        version = answer.get("version") if isinstance(answer, Mapping) else None
        if version != VERSION or isinstance(version, bool):
            what = f"version {version!r}" if isinstance(answer, Mapping) and "version" in answer else "no version"
            raise AnswerError(url, f"that is {what}, and version {VERSION} is expected: {FORM}", answer)
        if not isinstance(answer.get("scores"), list):
            raise AnswerError(url, f"`scores` must be a list, as in {FORM}", answer)
        return answer["scores"]

    @staticmethod
    def _answer(url: str, entry: Mapping[str, Any]) -> Answer:
        reason = entry.get("reason")
        if reason is not None and not isinstance(reason, str):
            raise AnswerError(url, f"the reason of id {entry['id']!r} must be a text or null", entry)
        if "score" in entry and entry["score"] is None:
            return Answer(None, reason or "")
        score = number_of(entry.get("score"))
        if score is None:
            raise AnswerError(url, f"the score of id {entry['id']!r} must be a number or null", entry)
        refused = not math.isfinite(score)
        return Answer(score, reason or (shown(score) if refused else ""), refused)


def _some(ids: Sequence[str]) -> str:
    """The first of many."""
    return f"id {', '.join(ids[:5])}" + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
