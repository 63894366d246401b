# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Policy and reference, and how they are called. A trainer has an engine; an engine knows no trainer and no loss."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from llamafactory.extras import logging

from ..forward.call import Forward, Prepared, capabilities
from ..forward.choose import BY_COST
from ..forward.features import FeatureCache
from ..forward.names import SHARED_PREFIX
from ..forward.planner import planner_of
from ..forward.readers import DEFAULT, Reader
from ..forward.request import Request
from ..forward.result import TokenLogps
from ..reference.adapters import adapters_off
from .speedups import Batches, Decision, decide, describe

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


class Engine:
    """Calls models on batches, with those of the asked speed-ups that agree with the plain path.

    A step is `prepared = engine.prepare(model, batch)`, then `reference_logps` while no graph of the policy holds
    memory yet, then `logps`. `model` is the policy as a trainer hands it on, wrapped or not.

    Args:
        accelerator: of the run.
        policy: the model that trains.
        reference: another model, as the accelerator prepared it; the policy itself, if the reference is the policy
            with its adapters off; None if nothing but the policy is called.
        asked: names of the speed-ups that may be used.
        batches: how batches are made.

    Attributes:
        forward: what is used, once it is decided: on the first batch, and again on the first with gradients.
        feature_cache: of pictures; set before the first batch.
        planner: lays out batches in the collator; None for a collator that lays out nothing.
    """

    def __init__(
        self, accelerator: Any, policy: Any, reference: Any, asked: Collection[str], batches: Batches
    ) -> None:
        self.accelerator = accelerator
        self.policy, self.reference = policy, reference
        self.asked, self.batches = frozenset(asked), batches
        self.forward: Forward | None = None
        self.feature_cache: FeatureCache | None = None
        self.planner = planner_of(batches.collate)
        self._compared_gradients = False
        self._logged: set[tuple[str, str]] = set()  # why some batches were laid out otherwise
        self._inner: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    # -- models ---------------------------------------------------------------------------------------------------

    @property
    def collate(self) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        """Tokenized rows to a batch."""
        return self.batches.collate

    @property
    def uses_fsdp(self) -> bool:
        return getattr(self.accelerator.state, "fsdp_plugin", None) is not None

    @property
    def sharded(self) -> bool:
        """Whether ranks hold parts of the weights, or a backward does more than fill gradients."""
        return self.uses_fsdp or getattr(self.accelerator.state, "deepspeed_plugin", None) is not None

    def unwrapped(self, model: Any) -> Any:
        """`accelerator.unwrap_model`, which walks over all modules, remembered."""
        known = self._inner.get(model)
        inner = known() if known is not None else None
        if inner is None:
            inner = self.accelerator.unwrap_model(model)
            self._inner[model] = weakref.ref(inner)
        return inner

    def unwrapped_models(self, model: Any) -> tuple[Any, Any]:
        """The policy and the reference as `Forward.prepare` takes them."""
        policy = self.unwrapped(model)
        if self.reference is None or self.reference is self.policy:
            return policy, None if self.reference is None else policy
        return policy, self.unwrapped(self.reference)

    def may_share(self) -> bool:
        """Whether prompts can be shared, before a batch has been seen."""
        return SHARED_PREFIX in self.asked and SHARED_PREFIX not in capabilities(*self.unwrapped_models(self.policy))

    def alone(self, model: Any) -> Engine:
        """An engine that calls `model` and nothing else, with the features of pictures that are known here."""
        found = _ReferencePass(self.accelerator, model, None, self.asked, self.batches)
        found.feature_cache, found._logged = self.feature_cache, self._logged
        return found

    # -- calls ----------------------------------------------------------------------------------------------------

    def prepare(self, model: Any, batch: dict[str, Any]) -> Prepared:
        """Lay out a batch once for policy and reference; what is carried beside model inputs is left out.

        After an evaluation before step 1, which has no gradients to compare, the first training batch decides again.
        """
        inputs = {name: value for name, value in batch.items() if name not in self.batches.carried}
        if self.forward is None or (torch.is_grad_enabled() and not self._compared_gradients):
            self.forward = self._decide(model, inputs)
        prepared = self.forward.prepare(inputs, *self.unwrapped_models(model))
        self._log_batch(prepared)
        return prepared

    def logps(self, model: Any, prepared: Prepared, readers: Sequence[Reader] = DEFAULT) -> TokenLogps:
        """Log-probabilities of the responses under the policy, a token, and whatever else `readers` read."""
        return Forward.call(model, self.unwrapped(model), prepared, readers)

    def reference_logps(
        self, model: Any, prepared: Prepared, readers: Sequence[Reader] = DEFAULT
    ) -> TokenLogps | None:
        """Those under the reference, without a graph; None without a reference."""
        if self.reference is None:
            return None
        own = self.reference is self.policy
        called = model if own else self.reference
        with torch.no_grad(), adapters_off(self.unwrapped(model)) if own else nullcontext():
            return self.logps(called, prepared, readers)

    def on_batch(self, model: Any, batch: dict[str, Any]) -> TokenLogps:
        """Log-probabilities of the responses of a collated batch under `model`."""
        return self.logps(model, self.prepare(model, self.batches.to_device(batch)))

    # -- speed-ups ------------------------------------------------------------------------------------------------

    def use(self, forward: Forward) -> None:
        """Take these speed-ups without comparing them, as a benchmark does."""
        self.forward, self._compared_gradients = forward, True

    def _decide(self, model: Any, inputs: dict[str, Any]) -> Forward:
        self._compared_gradients = torch.is_grad_enabled()
        decision = decide(self, model, inputs)
        forward = Forward(decision.verdict.on)
        self._log(decision, forward, self.unwrapped(model))
        forward.feature_cache, forward.planner = self.feature_cache, self.planner
        return forward

    def plan_batches(self, model: Any) -> None:
        """Set what the collator lays out batches for, before the processes that load data start.

        The comparison on the first batch may give up a speed-up after that. Batches of these processes are then laid
        out again where they are used.
        """
        if self.planner is not None:
            policy, reference = self.unwrapped_models(model)
            on = self.asked - set(capabilities(policy, reference))
            self.planner.request = Request.of([policy, policy if reference is None else reference], on, always=False)

    def _log_batch(self, prepared: Prepared) -> None:
        """Once each: how batches are laid out, and why a speed-up is left out."""
        lines = {("", prepared.chosen)} if prepared.chosen else set()
        for name, why in sorted((lines | set(prepared.reasons.items())) - self._logged):
            self._logged.add((name, why))
            verb = "does not pay for" if why in BY_COST else "is not used for"
            logger.info_rank0(
                f"pref_speedups: {name} {verb} some batches: {why}." if name else f"pref_speedups: {why}."
            )

    def _log(self, decision: Decision, forward: Forward, policy: Any) -> None:
        line = describe(decision, policy, forward.prepare(decision.batch, policy) if forward.on else None)
        (logger.warning_rank0 if decision.is_doubtful else logger.info_rank0)(line)


class _ReferencePass(Engine):
    """Logs only what failed: the training's own lines describe the rest."""

    def _log_batch(self, prepared: Prepared) -> None:
        pass

    def _log(self, decision: Decision, forward: Forward, policy: Any) -> None:
        for name, why in decision.verdict.failed.items():
            logger.warning_rank0(f"pref_speedups: {name} is off in the pass of the reference: {why}.")
