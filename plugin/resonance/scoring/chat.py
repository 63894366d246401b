# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""An OpenAI-compatible chat server as a judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..rewards.judges.api import Images, shown
from ..rewards.judges.chat import ChatApi, with_images
from ..wire import Client
from .reply import REFUSAL, NoScore, scores_in, wanted
from .template import SCORES, Template
from .types import REFUSED, UNREADABLE, Ask, Verdict

PATCH = 28  # pixels of a side for which a picture counts as one token, about what open vision models take


@dataclass(frozen=True)
class ChatJudge:
    """Attributes: client: of the server. model: as it calls it. template: of the prompt. images: `base64` or `none`.
    largest_side: of pictures, in pixels. body: further keys of a call. concurrency: calls at a time."""

    client: Client
    model: str
    template: Template
    images: str
    largest_side: int
    body: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    batch_size: int = 1

    def decides(self, ask: Ask) -> Mapping[str, Any]:
        """The URL is none of it: the same model may be served from another place."""
        how = {"images": self.images, "side": self.largest_side, "body": dict(self.body)}
        scale = [self.template.mode, self.template.low, self.template.high]
        return {"judge": "chat", "model": self.model, "scale": scale, **how, "parts": self.template.parts(ask)}

    def request(self, ask: Ask) -> dict[str, Any]:
        pictures = Images(self.images, self.largest_side).sent(ask.pair["images"])
        return self._body([{"role": "user", "content": with_images(self.template.parts(ask), pictures)}])

    def answer(self, asks: Sequence[Ask]) -> list[Verdict]:
        (ask,) = asks
        body = self.request(ask)
        first, text = self._once(body, self.tokens(ask))
        if not first.failed:
            return [first]
        if text:
            told = f"This cannot be used: {first.reason}. {self._wanted()}"
            more = [{"role": "assistant", "content": text}, {"role": "user", "content": told}]
            body = self._body([*body["messages"], *more])
        second, _ = self._once(body, self.tokens(ask))
        tokens = (first.tokens[0] + second.tokens[0], first.tokens[1] + second.tokens[1])
        return [Verdict(second.scores, second.reason, second.failed, tokens)]

    def check(self) -> None:
        """Look for the model among those that the server lists."""
        low, high = self.template.low, self.template.high
        ChatApi(self.model, "", None, low, high).check(self.client)

    def tokens(self, ask: Ask) -> int:
        """About how many tokens a call takes: 4 bytes of text each, and PATCH x PATCH pixels of pictures."""
        from ..rows.vision.header import image_size

        count = sum(math.ceil(len(part.encode(errors="replace")) / 4) for part in self.template.parts(ask) if part)
        for image in ask.pair["images"] if self.images != "none" else ():
            width, height = image_size(image)
            smaller = min(1.0, self.largest_side / max(width, height))
            count += math.ceil(width * smaller / PATCH) * math.ceil(height * smaller / PATCH)
        return count

    def _wanted(self) -> str:
        return wanted(SCORES[self.template.mode], self.template.low, self.template.high)

    def _body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        keys = {"temperature": 0, **self.body}
        return {
            "model": self.model,
            "messages": messages,
            **{key: value for key, value in keys.items() if value is not None},
        }

    def _once(self, body: dict[str, Any], tokens: int) -> tuple[Verdict, str]:
        """The verdict of one call, and the text of the reply."""
        answer = self.client.post(ChatApi.path, body, tokens=tokens)
        used = _used(answer)
        try:
            choice = answer["choices"][0]
            text, refusal = choice["message"].get("content"), choice["message"].get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError):
            return Verdict((), f"it is no answer of the chat API: {shown(answer)}", UNREADABLE, used), ""
        if refusal or not isinstance(text, str) or not text.strip():
            kind = REFUSED if refusal or choice.get("finish_reason") == "content_filter" else UNREADABLE
            return Verdict((), f"{refusal or 'it is empty'}", kind, used), ""
        if choice.get("finish_reason") == "length":
            return Verdict((), f"it was cut off by the limit of tokens: {shown(text)}", UNREADABLE, used), text
        try:
            template = self.template
            scores, reason = scores_in(text, SCORES[template.mode], template.low, template.high)
            return Verdict(scores, reason, "", used), text
        except NoScore as error:
            kind = REFUSED if REFUSAL.match(text.rpartition("</think>")[2]) else UNREADABLE
            return Verdict((), str(error), kind, used), text


def _used(answer: Any) -> tuple[int, int]:
    """Tokens in and out, as the server counted them; 0 where it does not."""
    usage = answer.get("usage") if isinstance(answer, Mapping) else None
    counts = [usage.get(key) if isinstance(usage, Mapping) else 0 for key in ("prompt_tokens", "completion_tokens")]
    into, out = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    return into, out
