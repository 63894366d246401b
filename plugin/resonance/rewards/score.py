# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Completions in, scores out. Nothing that a reward returns is taken on trust."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotReady
from contextlib import nullcontext
from typing import Any, NoReturn

from .limits import TimeUp, event_loop, time_limit
from .recipe import Reward
from .scores import Scores, Verdicts
from .spec import Completions, RewardError

LARGEST = 3e38  # of 32 bits, in which rewards are compared


def score(rewards: Sequence[Reward], batch: Completions) -> Scores:
    """The rewards of a batch of completions.

    Asynchronous functions all run at the same time; the others one after another meanwhile, in this thread.

    Args:
        rewards: of `make_rewards`.
        batch: the completions and what is known about them.

    Raises:
        ValueError: a reward raised, took longer than its timeout, or returned anything but a finite number or None for
            each completion; names the reward, the completion, the value, and what to do.
    """
    start = time.monotonic()
    waiting = {id(reward): _begin(reward, batch) for reward in rewards if reward.is_async}
    try:
        results = {id(reward): _run(reward, batch) for reward in rewards if not reward.is_async}
        for reward in rewards:
            if reward.is_async:
                left = None if reward.timeout is None else start + reward.timeout - time.monotonic()
                results[id(reward)] = _finish(reward, batch, waiting[id(reward)], left)
    finally:
        for future in waiting.values():
            future.cancel()  # when one fails, the others need not go on
    found, verdicts = {}, {}
    for reward in rewards:
        result = results[id(reward)]
        if isinstance(result, Verdicts):
            verdicts[reward.name], result = result, result.values
        found[reward.name] = _checked(reward, batch, result)
    return Scores(found, {reward.name: reward.weight for reward in rewards}, verdicts)


def _run(reward: Reward, batch: Completions) -> Any:
    try:
        with nullcontext() if reward.timeout is None else time_limit(reward.timeout):
            return reward.fn(batch)
    except TimeUp:
        _late(reward, batch)
    except (Exception, SystemExit) as error:  # a library that ends the process, with success or not
        _failed(reward, error)


def _begin(reward: Reward, batch: Completions) -> Future:
    async def call() -> Any:
        try:
            return await reward.fn(batch)
        except SystemExit as error:  # it would end the loop in which all asynchronous rewards run
            raise RewardError(f"raised SystemExit: {error}") from error

    return asyncio.run_coroutine_threadsafe(call(), event_loop())


def _finish(reward: Reward, batch: Completions, future: Future, seconds: float | None) -> Any:
    try:
        return future.result(None if seconds is None else max(seconds, 0.0))
    except NotReady as error:
        if future.done():  # the function's own TimeoutError, which is the same class
            _failed(reward, error)
        _late(reward, batch)
    except Exception as error:
        _failed(reward, error)


def _late(reward: Reward, batch: Completions) -> NoReturn:
    raise ValueError(
        f"{reward.title} returned nothing within {reward.timeout:g} s for {len(batch)} completions. If it is "
        f"right and only slow, give it more in its entry: timeout: {2 * (reward.timeout or 0):g}"
    )


def _failed(reward: Reward, error: BaseException) -> NoReturn:
    where = "" if isinstance(error, RewardError) else f" raised {type(error).__name__}"
    raise ValueError(f"{reward.title}{where}: {error}") from error


def _checked(reward: Reward, batch: Completions, result: Any) -> list[float | None]:
    """B numbers or None. ValueError for anything else."""
    listed = result.tolist() if hasattr(result, "tolist") else result  # an array or a tensor
    if not isinstance(listed, list | tuple):
        raise ValueError(
            f"{reward.title} returned {type(result).__name__}; it must return a list of {len(batch)} numbers, with "
            f"None for a completion that it does not judge."
        )
    if len(listed) != len(batch):
        raise ValueError(
            f"{reward.title} returned {len(listed)} values for {len(batch)} completions; it must return one each, in "
            f"their order, None for a completion that it does not judge."
        )
    return [_number(reward, batch, row, value) for row, value in enumerate(listed)]


def _number(reward: Reward, batch: Completions, row: int, value: Any) -> float | None:
    if value is None:
        return None
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(plain, int | float) and abs(plain) <= LARGEST:  # which neither NaN nor an infinity is
        return float(plain)
    text = batch.completions[row]
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    raise ValueError(
        f"{reward.title} returned {value!r} for completion {row} ({shown!r}){batch.of(row)}; it must be a finite "
        f"number (of 32 bits: at most 3e38), or None to leave this reward out for it."
    )
