# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whether a server read the prompt that the trainer trains on, and ended where the template ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from .server import Answer, Request

ROUNDING = 1e-3  # by which a log-probability may be above 0
AROUND = 8  # tokens shown before and after the first that differs


@dataclass(frozen=True)
class Agreement:
    """Checks every answer.

    Attributes:
        media: tokens that stand for images; a server has one or several for each.
        decode: tokens -> text.
        command: how to start a server that agrees.
    """

    media: Collection[int]
    decode: Callable[[Sequence[int]], str]
    command: str

    def check(self, request: Request, answer: Answer, where: str) -> None:
        """Stop at what would be trained on as another prompt or ending.

        Args:
            request: what was asked.
            answer: of the server.
            where: the server and the row, for messages.

        Raises:
            ValueError: the server has another prompt, other images or other ends, or log-probabilities that are none.
        """
        if answer.prompt_ids is not None:
            self._same_prompt(request.prompt_ids, answer.prompt_ids, where)
        ours, theirs = len(request.prompt_ids), answer.prompt_tokens
        if ours != theirs:
            raise ValueError(
                f"{where}: the prompt has {ours} tokens here and {theirs} on the server, its text is the same: the "
                f"server makes images larger or smaller. {self.start()}"
            )
        if len(answer.choices) != request.count:
            raise ValueError(f"{where}: {request.count} completions were asked for, {len(answer.choices)} came.")
        most = request.sampling.max_new_tokens
        for choice in answer.choices:
            if bad := [logp for logp in choice.logps if not (math.isfinite(logp) and logp <= ROUNDING)]:
                raise ValueError(
                    f"{where}: a completion came with {bad[0]} among its log-probabilities: the server's weights are "
                    "broken, or it computes in too few bits. Start it again with the weights of the start."
                )
            last = choice.token_ids[-1:]
            ended = bool(last) and last[0] in request.end_tokens
            whole = ended if choice.finish_reason == "stop" else len(choice.token_ids) == most
            if not whole or len(choice.token_ids) > most:
                raise ValueError(
                    f"{where}: a completion of {len(choice.token_ids)} tokens ended by {choice.finish_reason!r} with "
                    f"{self.decode(last)!r}, where at most {most} tokens or one of "
                    f"{[self.decode([end]) for end in request.end_tokens]} end it here. {self.start()}"
                )

    def _same_prompt(self, ours: Sequence[int], theirs: Sequence[int], where: str) -> None:
        here, there = self.collapsed(ours), self.collapsed(theirs)
        if here == there:
            return
        pairs = zip(here, there, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(here), len(there)))
        shown = [self.decode(ids[max(0, at - AROUND) : at + AROUND]) for ids in (here, there)]
        raise ValueError(
            f"{where}: the server reads another prompt than the trainer, from token {at} on (images counted as one):\n"
            f"  here   {shown[0]!r}\n  server {shown[1]!r}\n"
            f"It uses the chat template of its model folder, the trainer LlamaFactory's `template`: serve a folder "
            f"that LlamaFactory saved with this template, or give the server a `--chat-template`. {self.start()}"
        )

    def collapsed(self, ids: Sequence[int]) -> list[int]:
        """With one token in place of several of the same medium."""
        before = [None, *ids]
        return [token for token, last in zip(ids, before, strict=False) if token != last or token not in self.media]

    def start(self) -> str:
        return f"To start it for this recipe:\n  {self.command}"
