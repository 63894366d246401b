# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's API of reward servers: texts, and a number for each.

POST the URL itself, e.g. http://127.0.0.1:8000/v1/score/evaluation of `llamafactory-cli api`
{"model": "model", "messages": ["the text of a prompt and a completion", ...]}
{"scores": [0.5, ...]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...wire import Client, ServerError
from ..spec import Completions
from .api import Answer, AnswerError, Images, number_of, shown

FORM = '{"scores": [a number, ...]}, one for each of the messages'
EMPTY = (400, 422)  # what it may say to no messages at all


@dataclass(frozen=True)
class TextsApi:
    """Attributes: batch_size: texts of a call. model: as the server calls it. suffix: put behind each text."""

    batch_size: int
    model: str
    suffix: str
    path: str = ""

    def identity(self) -> Mapping[str, Any]:
        return {"model": self.model}

    def item(self, batch: Completions, row: int, images: Images) -> str:
        text = batch.transcript(row) if batch.transcript else f"{batch.prompts[row]}{batch.completions[row]}"
        return text + self.suffix

    def body(self, rows: Sequence[int], items: Sequence[Any]) -> dict[str, Any]:
        return {"model": self.model, "messages": list(items)}

    def answers(self, url: str, rows: Sequence[int], answer: Any) -> list[Answer]:
        scores = answer.get("scores") if isinstance(answer, Mapping) else None
        if not isinstance(scores, list):
            raise AnswerError(url, f"expected is {FORM}", answer)
        if len(scores) != len(rows):
            raise AnswerError(url, f"these are {len(scores)} scores for {len(rows)} messages", answer)
        found = []
        for at, score in enumerate(scores):
            number = number_of(score)
            if score is not None and number is None:
                raise AnswerError(url, f"score {at} of it must be a number or null", answer)
            refused = number is not None and not math.isfinite(number)
            found.append(Answer(number, shown(number) if refused else "", refused))
        return found

    def check(self, client: Client) -> None:
        """Ask it to score nothing, which it may refuse."""
        try:
            self.answers(client.url, [], client.post(self.path, self.body([], [])))
        except ServerError as error:
            if error.status not in EMPTY:
                raise
