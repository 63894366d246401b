# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A server of our own reward protocol, docs/judges.md, as a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..rewards.judges.api import Images
from ..rewards.judges.own import OwnApi
from ..wire import Client
from .functions import completions_of, verdict_of
from .types import UNREADABLE, Ask, Verdict


@dataclass(frozen=True)
class OwnJudge:
    """Attributes: client: of the server. api: what it is asked. images: `base64`, `path` or `none`. largest_side: of
    pictures, in pixels. scale: the range of scores that count, None for any. concurrency: calls at a time."""

    client: Client
    api: OwnApi
    images: str
    largest_side: int
    scale: tuple[float, float] | None = None
    concurrency: int = 8

    @property
    def batch_size(self) -> int:
        return self.api.batch_size

    def decides(self, ask: Ask) -> Mapping[str, Any]:
        columns = {name: ask.pair["raw"].get(name) for name in self.api.columns}
        how = {"images": self.images, "side": self.largest_side, "scale": self.scale}
        asked = {"messages": ask.pair["messages"], "completion": ask.answers[0], "columns": columns}
        return {"judge": "resonance", "url": self.client.url, **how, **asked}

    def request(self, ask: Ask) -> Any:
        return self._body([ask])

    def answer(self, asks: Sequence[Ask]) -> list[Verdict]:
        answer = self.client.post(self.api.path, self._body(asks))
        found = self.api.answers(self.client.url, range(len(asks)), answer)
        return [
            Verdict((), each.reason, UNREADABLE) if each.refused else verdict_of(each.score, each.reason, self.scale)
            for each in found
        ]

    def tokens(self, ask: Ask) -> int:
        return 0

    def check(self) -> None:
        self.api.check(self.client)

    def _body(self, asks: Sequence[Ask]) -> Any:
        batch, images = completions_of(asks, self.api.columns), Images(self.images, self.largest_side)
        return self.api.body(range(len(asks)), [self.api.item(batch, row, images) for row in range(len(asks))])
