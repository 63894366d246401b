# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rollouts by servers, from the recipe and the parts of its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments.policy_settings import PolicySettings
from ..forward.request import media_tokens
from ..rollout.agreement import Agreement
from ..rollout.pool import ServerRollout, Terms
from ..rollout.recorder import media_tokens as never_sampled
from ..rollout.server import Server
from ..rollout.sglang import SglangServer
from ..rollout.vllm import VllmServer
from ..rows.chat import ChatWriter
from ..rows.collate import describe_rows
from ..wire import Client
from .served_weights import WeightFolder

DIALECTS: dict[str, Callable[[Client], Server]] = {"vllm": VllmServer, "sglang": SglangServer}


def make_servers(settings: PolicySettings) -> list[Server]:
    """Those of the recipe; ValueError where a URL or the key cannot be used. Nothing is asked of them yet."""
    values = settings.values
    how = {
        "timeout": values["rollout_timeout"],
        "retries": 0,  # whatever failed is asked of any server that answers
        "concurrency": values["rollout_concurrency"],
        "key_env": values["rollout_key_env"] or "",
    }
    try:
        clients = [Client(url, **how) for url in settings.urls]
    except ValueError as error:
        raise ValueError(f"rollout_key_env: {error}") from error
    return [DIALECTS[values["rollout_backend"]](client) for client in clients]


def server_rollout(parts: Any, trainer: Any, end_tokens: list[int]) -> ServerRollout:
    """The back-end of a recipe with servers.

    Args:
        parts: of the run.
        trainer: of the policy.
        end_tokens: of completions.
    """
    settings, config, args = parts.settings, parts.model.config, trainer.args
    terms = Terms(
        speak=ChatWriter(parts.template, parts.processor),
        where=lambda row: describe_rows([dict(row)]),
        end_tokens=end_tokens,
        banned=never_sampled(config),
        wait=settings.values["rollout_wait"],
        rank=args.process_index,
        world=args.world_size,
    )
    agreement = Agreement(media_tokens(config), parts.tokenizer.decode, "\n  ".join(parts.commands))
    weights = WeightFolder(trainer, adapter=parts.finetuning_args.finetuning_type == "lora")
    return ServerRollout(parts.servers, terms, agreement, weights)
