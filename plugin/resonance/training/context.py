# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The run in progress: its arguments, for a trainer that LlamaFactory constructs without them, and its early end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class RunArguments(NamedTuple):
    """LlamaFactory's four argument objects, as its workflows take them."""

    model: Any
    data: Any
    training: Any
    finetuning: Any


class RunIsOver(Exception):
    """There is nothing to train: all is computed under `precompute_only: true`, or the run was finished before."""


_current: ContextVar[RunArguments] = ContextVar("run in progress")


@contextmanager
def running(args: RunArguments) -> Iterator[None]:
    """Within the block, `current_run` returns `args`; a `RunIsOver` ends it without an error."""
    token = _current.set(args)
    try:
        yield
    except RunIsOver:
        pass
    finally:
        _current.reset(token)


def current_run() -> RunArguments:
    """The arguments of the run in progress.

    Raises:
        RuntimeError: there is none.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("no run in progress: construct this trainer within `training.context.running`") from None
