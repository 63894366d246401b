# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Batches are laid out by the collator, in the processes that load data, for the models of the run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from transformers import TrainerCallback

from ..forward.call import capabilities
from ..forward.planner import Planner
from ..forward.request import Request


def planner_of(collator: Any) -> Planner | None:
    """A planner that `collator` asks from now on; None for a collator that lays out nothing."""
    if not hasattr(collator, "lay_out"):
        return None
    collator.lay_out = Planner()
    planner: Planner = collator.lay_out
    return planner


class PlanBatches(TrainerCallback):
    """Sets what batches are laid out for, before the processes that load data start.

    The comparison on the first batch may give up a speed-up after that. Batches of these processes are then laid out
    again where they are used.

    Args:
        planner: of the collator.
        models: policy and reference, unwrapped.
        asked: names of the speed-ups that may be used.
    """

    def __init__(self, planner: Planner, models: Callable[[], tuple[Any, Any]], asked: Collection[str]) -> None:
        self.planner, self.models, self.asked = planner, models, frozenset(asked)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        policy, reference = self.models()
        on = self.asked - set(capabilities(policy, reference))
        self.planner.request = Request.of([policy, reference or policy], on, always=False)
