# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The log-probabilities that a vLLM server gives to answers, beside those of the model here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from ..rollout.pool import encoded
from ..rows.collate import describe_rows
from ..wire import Client, ServerError
from .export import TOLERANCE, Result, judged
from .outside import Outside, messages_of
from .policy import SIDES, Pair, Policy


@dataclass(frozen=True)
class Server:
    """One that is to have a model.

    Attributes:
        url: of a vLLM server.
        model: the name of a model that it serves; None for the first.
        key_env: the environment variable with its key; empty for none.
    """

    url: str
    model: str | None = None
    key_env: str = ""


def check_server(server: Server, outside: Outside, policy: Policy, pairs: Sequence[Pair]) -> Result:
    """Whether a server reads the same tokens and gives them the same log-probabilities.

    Args:
        server: that is asked.
        outside: the saved model that it should have.
        policy: of the training; writes the rows.
        pairs: rows.
    """
    with Client(server.url, key_env=server.key_env) as client:
        try:
            name = server.model or client.get("/v1/models")["data"][0]["id"]
            return _compared(client, name, outside, policy, pairs)
        except (ServerError, LookupError, TypeError) as error:
            why = str(error) if isinstance(error, ServerError) else f"{type(error).__name__}: {error}"
            return Result(False, server.url, "answers", f"{why}. A vLLM server that takes `prompt_logprobs` is needed")


def _compared(client: Client, model: str, outside: Outside, policy: Policy, pairs: Sequence[Pair]) -> Result:
    apart = []
    for pair in pairs:
        ours, sides = outside.logps(policy.writer, pair), []
        for side in SIDES:
            ids = _text_ids(policy, pair, side)
            found = _answered(client, model, policy, pair, side)[-len(ids) :]
            if [token for token, _ in found] != ids:
                texts = [policy.writer.tokenizer.decode(each) for each in (ids, [token for token, _ in found])]
                shown = f"{describe_rows([dict(pair)])}:\n  training {texts[0]!r}\n  server   {texts[1]!r}"
                return Result(False, client.url, "prompts", f"it reads other tokens, {shown}")
            sides.append(abs(sum(ours[side][: len(ids)]) - sum(logp for _, logp in found)) / len(ids))
        apart.append(max(sides))
    return judged(apart, pairs, TOLERANCE[outside.dtype], f"{client.url} ({model})")


def _text_ids(policy: Policy, pair: Pair, side: str) -> list[int]:
    """The tokens of an answer without the template's ending, which a server does not write behind it."""
    text = policy.writer.tokenizer(pair[side], add_special_tokens=False)["input_ids"]
    whole = getattr(policy.writer.ids(pair), side)
    return [a for a, _ in takewhile(lambda both: both[0] == both[1], zip(whole, text, strict=False))]


def _answered(client: Client, model: str, policy: Policy, pair: Pair, side: str) -> list[tuple[int, float]]:
    """The tokens of prompt and answer on the server, with their log-probabilities."""
    asked = [{**message, "content": encoded(message["content"])} for message in messages_of(policy.writer, pair)]
    messages = [*asked, {"role": "assistant", "content": pair[side]}]
    found = client.post(
        "/v1/chat/completions",
        {
            "model": model,
            "messages": messages,
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
            "add_generation_prompt": False,
            "continue_final_message": True,
        },
    )
    read = [entry for entry in found["prompt_logprobs"] if entry]
    return [(int(token), float(of["logprob"])) for token, of in (next(iter(entry.items())) for entry in read)]
