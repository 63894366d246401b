# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which speed-ups of the forward pass a run uses, decided on its first batch, and the line that describes it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch

from ..forward.call import Forward, Prepared, capabilities, media_tokens
from ..forward.media import is_media
from ..forward.names import FROZEN_TOWER, SHARED_PREFIX, SPEEDUPS
from ..forward.result import TokenLogps, sums
from ..forward.selftest import SelfTest, Verdict, logits_bytes
from ..forward.tower import is_frozen
from .features import MEDIA

_LOOKED_AT = 10_000  # rows of the training set, for one with a picture


@dataclass(frozen=True)
class Batches:
    """How a run makes batches, for whoever needs one of its own.

    Attributes:
        collate: tokenized rows to a batch.
        to_device: a batch to where models read it.
        rows: the training set, or None.
        carried: what lies in a batch beside model inputs, by name.
        answers: rows of a batch a row of the training set.
    """

    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]
    to_device: Callable[[dict[str, Any]], dict[str, Any]]
    rows: Any = None
    carried: Collection[str] = ()
    answers: int = 2


class Models(Protocol):
    """What calls policy and reference; `training.engine.Engine` is one."""

    accelerator: Any
    asked: frozenset[str]
    batches: Batches

    @property
    def sharded(self) -> bool:
        """Whether ranks hold parts of the weights, or a backward does more than fill gradients."""

    def unwrapped_models(self, model: Any) -> tuple[Any, Any]:
        """Policy and reference as `Forward.prepare` takes them."""

    def logps(self, model: Any, prepared: Prepared) -> TokenLogps:
        """Of the policy."""

    def reference_logps(self, model: Any, prepared: Prepared) -> TokenLogps | None:
        """Of the reference, None without one."""


@dataclass(frozen=True)
class Decision:
    """Which speed-ups are used, and why others are not.

    Attributes:
        verdict: of the comparison with the plain path.
        reasons: by name, why a speed-up that was asked for was not even compared.
        batch: that was compared on.
        compared: names `batch`.
    """

    verdict: Verdict
    reasons: dict[str, str] = field(default_factory=dict)
    batch: dict[str, Any] = field(default_factory=dict)
    compared: str = "first batch"

    @property
    def is_doubtful(self) -> bool:
        """Whether a speed-up disagreed with the plain path, or none could be compared with it."""
        return bool(self.verdict.failed) or (bool(self.verdict.on) and self.verdict.logps is None)


def decide(engine: Models, model: Any, batch: dict[str, Any]) -> Decision:
    """Compare the speed-ups that were asked for with the plain path.

    On `batch`, or, if it has no picture, on the first rows of the training set that have: what spares work on pictures
    would otherwise be compared on nothing.
    """
    policy, reference = engine.unwrapped_models(model)
    reasons = {name: why for name, why in capabilities(policy, reference).items() if name in engine.asked}
    candidates = engine.asked - set(reasons)
    if not candidates:
        return Decision(Verdict(frozenset()), reasons, batch)
    given, batch = batch, with_pictures(batch, engine.batches, policy)

    parameters = _comparable(engine, policy)
    forward = Forward(candidates, always=True)  # a first batch of equal rows must not leave packing untested

    def run(on: Collection[str]) -> tuple[TokenLogps, torch.Tensor | None]:
        torch.manual_seed(0)  # where random numbers are drawn, the same ones both ways
        prepared = forward.prepare(batch, policy, reference, on)
        caller = policy if parameters else model  # gradients must not reach the hooks of a wrapper
        theirs = engine.reference_logps(caller, prepared)
        return engine.logps(caller, prepared), None if theirs is None else sums(theirs)

    device, half = engine.accelerator.device, computes_in_half(engine.accelerator, policy)
    # where a rank can run out of memory alone, the others would wait for it
    needs = logits_bytes(batch, policy) if engine.sharded else 0
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        verdict = SelfTest(run, parameters, half, device, needs).choose(candidates)
    return Decision(verdict, reasons, batch, "first batch" if batch is given else "first rows with a picture")


def with_pictures(batch: dict[str, Any], batches: Batches, policy: Any) -> dict[str, Any]:
    """`batch`, or if it has no picture, as many rows of the training set from the first that has one.

    LlamaFactory puts a picture that nothing attends to into batches of text.
    """
    ids = torch.tensor(sorted(media_tokens(policy.config)), device=batch["input_ids"].device)
    media = torch.isin(batch["input_ids"], ids)
    if bool((media & (batch["attention_mask"] > 0)).any()):
        return batch
    rows = batches.rows
    columns = [name for name in MEDIA if name in (getattr(rows, "column_names", None) or ())]
    if not columns or not hasattr(rows, "__len__"):  # a stream would be read twice
        return batch
    seen = enumerate(islice(rows.select_columns(columns), _LOOKED_AT))
    first = next((place for place, row in seen if any(row.values())), None)
    if first is None:
        return batch
    count = len(batch["input_ids"]) // batches.answers
    start = max(0, min(first, len(rows) - count))
    taken = [rows[place] for place in range(start, min(start + count, len(rows)))]
    inputs = batches.to_device(batches.collate(taken))
    return {name: value for name, value in inputs.items() if name in batch or is_media(name)}


def computes_in_half(accelerator: Any, model: torch.nn.Module) -> bool:
    """Whether `model` computes with fewer bits than float32 has, so that two exact paths differ by more rounding."""
    half = accelerator.mixed_precision != "no" or torch.backends.cuda.matmul.allow_tf32
    return half or any(p.dtype in (torch.bfloat16, torch.float16) for p in model.parameters())


def _comparable(engine: Models, policy: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Parameters whose gradients can be compared: none where a backward does more than fill `.grad`."""
    if not torch.is_grad_enabled() or engine.sharded:
        return []
    parameters = [p for p in policy.parameters() if p.requires_grad]
    acting = any(p.grad is not None or p._post_accumulate_grad_hooks for p in parameters)
    return [] if acting or not policy.training else parameters


def describe(decision: Decision, policy: Any, prepared: Prepared | None) -> str:
    """One line about what is on and off, and why.

    Args:
        decision: to describe.
        policy: unwrapped.
        prepared: the batch of the decision, as it is now laid out; not looked at if nothing is on.
    """
    verdict, off = decision.verdict, decision.reasons | decision.verdict.failed
    parts = [f"on: {', '.join(name for name in SPEEDUPS if name in verdict.on) or 'nothing'}"]
    if FROZEN_TOWER in verdict.on and not is_frozen(policy):
        parts[0] += " (frozen_tower waits: the vision tower trains)"
    if off:
        parts.append(f"off: {', '.join(f'{name} ({why})' for name, why in off.items())}")
    if verdict.logps is not None:
        gradient = "gradients not compared" if verdict.gradient is None else f"its gradient by {verdict.gradient:.0e}"
        parts.append(f"differs from the plain path by {verdict.logps:.0e} a token, {gradient}")
    elif verdict.on:
        parts.append("not compared with the plain path, which does not fit into memory")
    if verdict.on and prepared is not None:
        parts.append(saving(verdict, prepared, decision.compared))
    if verdict.failed:
        parts.append(f"{type(policy).__name__} does not agree with its plain path there, please report it")
    return f"pref_speedups: {'; '.join(parts)}."


def saving(verdict: Verdict, prepared: Prepared, compared: str) -> str:
    """The expected saving of compute, as it was on the rows `compared`, and where it comes from."""
    rows = prepared.layout
    plain = rows.shape[0] * (rows.shape[1] + 1)
    tokens = rows.inputs["input_ids"].numel()
    shared = f"{plain} tokens a pass become {tokens}" if tokens != plain else f"{plain} tokens a pass"
    if why := prepared.reasons.get(SHARED_PREFIX):
        shared += f", prompts not shared ({why})"
    line = f"{compared}: {shared}, the head sees {len(rows.positions)} of them"
    if verdict.saving is None:
        return line
    counted = "forward" if verdict.gradient is None else "forward and backward"
    return (
        f"expected saving: {verdict.saving:.2f} times fewer FLOPs (counted: matrix products of {counted}, without "
        f"attention; {line})"
    )
