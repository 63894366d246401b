# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a back-end asks of a server and gets from it, whatever its dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .types import Sampling


@dataclass(frozen=True)
class Weights:
    """Of the policy, in a folder that servers can read.

    Attributes:
        name: what a server calls them: of this run and version, and of no other.
        family: what the names of all versions of the run's output folder begin with.
        folder: its absolute path.
        adapter: a LoRA adapter of the model that the server has; else a whole model.
    """

    name: str
    family: str
    folder: str
    adapter: bool


@dataclass(frozen=True)
class Request:
    """One prompt and how to answer it.

    Attributes:
        messages: of the conversation; images are data URIs, as `image_url`.
        prompt_ids: its tokens in the trainer.
        count: completions.
        sampling: of each.
        seed: of the first; the next has the next number.
        end_tokens: a completion ends with one of these and nothing else.
        banned: tokens that are never sampled.
    """

    messages: Sequence[dict[str, Any]]
    prompt_ids: Sequence[int]
    count: int
    sampling: Sampling
    seed: int
    end_tokens: Sequence[int]
    banned: Sequence[int]


NEVER = -100.0  # added to a logit


def drawn(request: Request) -> dict[str, Any]:
    """How tokens are drawn, in the words that all dialects share.

    Everything that a server's own defaults, or a model's `generation_config.json`, could change is in it.
    """
    sampling = request.sampling
    return {
        "temperature": 0.0 if sampling.greedy else sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "ignore_eos": True,  # the model's own ends may be others than the template's
        "stop_token_ids": list(request.end_tokens),
        "logit_bias": {str(token): NEVER for token in request.banned},
        "skip_special_tokens": False,
    }


@dataclass(frozen=True)
class Choice:
    """One completion: its tokens, their log-probabilities, and why it ended."""

    token_ids: list[int]
    logps: list[float]
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True)
class Answer:
    """What a server makes of a request.

    Attributes:
        prompt_ids: tokens of the prompt, before or after placeholders of images are expanded; None if it was
            asked by its tokens.
        prompt_tokens: how many it computed, with those of images.
        choices: completions.
    """

    prompt_ids: list[int] | None
    prompt_tokens: int
    choices: list[Choice]


class StaleError(Exception):
    """A server answered with other weights than it was asked for."""


class Server(Protocol):
    """One server in its dialect. Everything raises `wire.ServerError` where a call fails."""

    url: str
    concurrency: int

    def describe(self) -> str:
        """What it is, and its version."""
        ...

    def problems(self, needs: Mapping[str, Any]) -> list[str]:
        """Settings that it was started with and that a recipe needs otherwise, as far as it tells them.

        `needs`: `logprobs_mode`, the least `max_model_len` and `max_lora_rank`.
        """
        ...

    def holds(self, weights: Weights) -> bool:
        """Whether it has these weights."""
        ...

    def load(self, weights: Weights) -> None:
        """Give it these weights, and take those of earlier versions from it."""
        ...

    def complete(self, request: Request, weights: Weights) -> Answer:
        """Answer with these weights; raises StaleError where it can tell that others answered."""
        ...
