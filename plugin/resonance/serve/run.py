# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The process of the reward server."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..rewards import Completions, Reward, Scores, make_rewards, score
from ..wire import is_loopback, key_in
from .app import Limits, RewardServer

GRACE = 30  # seconds for requests in flight, when the server is told to end


@dataclass(frozen=True)
class Options:
    """Of `resonance serve-reward`.

    Attributes:
        target: a folder of a reward model, module:function, or the name of a built-in reward.
        limits: of the server.
        params: of the reward, as in an entry of a recipe.
        host, port: where it listens; port 0 for a free one.
        key_env: the environment variable with the key; empty for none.
        media_dir: the folder from which images are read by path; None for none.
    """

    target: str
    limits: Limits
    params: Mapping[str, Any] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8000
    key_env: str = ""
    media_dir: Path | None = None


def entry_of(target: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a recipe's `rewards:` that a target stands for."""
    if Path(target).is_dir():
        return {"model": target, **params}
    return {"function" if ":" in target else "name": target, **params}


def serve(options: Options, ready: Callable[[str], None]) -> int:
    """Score until told to end; the exit status.

    Args:
        options: of the command.
        ready: is called with the URL when the server listens.

    Raises:
        ValueError: the reward, the key, the folder or the address cannot be used.
    """
    import uvicorn

    entry = entry_of(options.target, options.params)
    (reward,) = make_rewards([entry])
    key = key_in(options.key_env)
    if options.media_dir is not None and not options.media_dir.is_dir():
        raise ValueError(f"--media-dir {options.media_dir} is no folder")
    limits = options.limits if "model" in entry else replace(options.limits, batch_size=1)
    reward.check()
    if "model" in entry:  # it is loaded when it is first needed
        scorer(reward)(Completions(["."], ["?"], [[]], messages=[[{"role": "user", "content": "?"}]]))
    listening = _listen(options.host, options.port)
    if not key and not is_loopback(options.host):
        logging.warning(f"Whoever reaches {options.host} may have completions scored; --key-env asks for a key.")
    server = RewardServer(reward.name, scorer(reward), limits, key, options.media_dir)
    config = uvicorn.Config(
        server.app, access_log=False, log_level="warning", timeout_graceful_shutdown=GRACE, timeout_keep_alive=75
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    ready(f"http://{host}:{listening.getsockname()[1]}")
    with suppress(KeyboardInterrupt):  # uvicorn has ended what was in flight
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def scorer(reward: Reward) -> Callable[[Completions], Scores]:
    """Scores by one reward alone, in a thread, where the limit of time is the server's."""
    alone = [replace(reward, title=reward.title.partition(" ")[2].strip("()"), weight=1.0, timeout=None)]
    return lambda batch: score(alone, batch)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once on sockets that name their protocol; others wait 40 ms for the next packet
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ValueError(f"--host {host} --port {port} cannot be listened at: {error}") from error
    return listening
