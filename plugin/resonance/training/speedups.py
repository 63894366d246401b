# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which speed-ups of the forward pass a run uses, decided on its first batch, and what is said about it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any

import torch
from llamafactory.extras import logging

from ..forward.call import Forward, Prepared, capabilities, media_tokens
from ..forward.media import is_media
from ..forward.names import FROZEN_TOWER, SHARED_PREFIX, SPEEDUPS
from ..forward.result import TokenLogps
from ..forward.selftest import SelfTest, Verdict, logits_bytes
from ..forward.tower import is_frozen
from .features import MEDIA

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

_LOOKED_AT = 10_000  # rows of the training set, for one with a picture


def choose(trainer: Any, model: Any, batch: dict[str, Any], asked: Collection[str]) -> Forward:
    """Compare the speed-ups that were asked for with the plain path, and say what is used and why.

    On `batch`, or, if it has no picture, on the first rows of the training set that have: what spares work on pictures
    would otherwise be compared on nothing.
    """
    policy, reference = trainer.unwrapped(model)
    reasons = {name: why for name, why in capabilities(policy, reference).items() if name in asked}
    candidates = frozenset(asked) - set(reasons)
    if not candidates:
        return _told(Verdict(frozenset()), reasons, batch, policy)
    given, batch = batch, _with_pictures(trainer, batch, policy)

    parameters = _trainable(trainer, policy)
    forward = Forward(candidates, always=True)  # a first batch of equal rows must not leave packing untested

    def run(on: Collection[str]) -> tuple[TokenLogps, torch.Tensor | None]:
        torch.manual_seed(0)  # where random numbers are drawn, the same ones both ways
        prepared = forward.prepare(batch, policy, reference, on)
        caller = policy if parameters else model  # gradients must not reach the hooks of a wrapper
        references = trainer.compute_reference_log_probs(caller, prepared)
        tokens = trainer.concatenated_forward(caller, prepared)["tokens"]
        return tokens, None if references[0] is None else torch.cat(references)

    half, needs = computes_in_half(trainer, policy), must_fit(trainer, batch, policy)
    devices = [trainer.accelerator.device] if trainer.accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        verdict = SelfTest(run, parameters, half, trainer.accelerator.device, needs).choose(candidates)
    return _told(verdict, reasons, batch, policy, "first batch" if batch is given else "first rows with a picture")


def _with_pictures(trainer: Any, batch: dict[str, Any], policy: torch.nn.Module) -> dict[str, Any]:
    """`batch`, or if it has no picture, as many rows of the training set from the first that has one.

    LlamaFactory puts a picture that nothing attends to into batches of text.
    """
    ids = torch.tensor(sorted(media_tokens(policy.config)), device=batch["input_ids"].device)
    media = torch.isin(batch["input_ids"], ids)
    if bool((media & (batch["attention_mask"] > 0)).any()):
        return batch
    rows = trainer.train_dataset
    columns = [name for name in MEDIA if name in (getattr(rows, "column_names", None) or ())]
    if not columns or not hasattr(rows, "__len__"):  # a stream would be read twice
        return batch
    seen = enumerate(islice(rows.select_columns(columns), _LOOKED_AT))
    first = next((place for place, row in seen if any(row.values())), None)
    if first is None:
        return batch
    count = len(batch["input_ids"]) // 2
    start = max(0, min(first, len(rows) - count))
    taken = [rows[place] for place in range(start, min(start + count, len(rows)))]
    inputs = trainer._prepare_inputs(trainer.data_collator(taken))
    return {name: value for name, value in inputs.items() if name in batch or is_media(name)}


def computes_in_half(trainer: Any, model: torch.nn.Module) -> bool:
    """Whether `model` computes with fewer bits than float32 has, so that two exact paths differ by more rounding."""
    half = trainer.accelerator.mixed_precision != "no" or torch.backends.cuda.matmul.allow_tf32
    return half or any(p.dtype in (torch.bfloat16, torch.float16) for p in model.parameters())


def must_fit(trainer: Any, batch: dict[str, Any], model: torch.nn.Module) -> int:
    """Bytes to look for before the plain path is tried on `batch`: none where a rank can run out of memory alone."""
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    return logits_bytes(batch, model) if sharded else 0


def may_share(trainer: Any) -> bool:
    """Whether prompts can be shared, before a batch has been seen."""
    asked = SHARED_PREFIX in trainer.asked_speedups
    return asked and SHARED_PREFIX not in capabilities(*trainer.unwrapped(trainer.model))


def _trainable(trainer: Any, policy: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Parameters whose gradients can be compared: none where a backward does more than fill `.grad`."""
    if not torch.is_grad_enabled() or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return []
    parameters = [p for p in policy.parameters() if p.requires_grad]
    acting = any(p.grad is not None or p._post_accumulate_grad_hooks for p in parameters)
    return [] if acting or not policy.training else parameters


def _told(
    verdict: Verdict, reasons: dict[str, str], batch: dict[str, Any], policy: Any, compared: str = "first batch"
) -> Forward:
    """One line about what is on and off; a WARNING if the comparison has switched something off.

    `compared` names `batch`.
    """
    forward, off = Forward(verdict.on), reasons | verdict.failed
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
    if verdict.on:
        parts.append(_saving(verdict, forward.prepare(batch, policy), compared))
    if verdict.failed:
        parts.append(f"{type(policy).__name__} does not agree with its plain path there, please report it")
    doubtful = verdict.failed or (verdict.on and verdict.logps is None)
    (logger.warning_rank0 if doubtful else logger.info_rank0)(f"pref_speedups: {'; '.join(parts)}.")
    return forward


def _saving(verdict: Verdict, prepared: Prepared, compared: str) -> str:
    """The expected saving of compute, as it was on the rows `compared`, and where it comes from."""
    rows = prepared.layout
    plain = rows.shape[0] * (rows.shape[1] + 1)
    tokens = rows.inputs["input_ids"].numel()
    shared = f"{plain} tokens a pass become {tokens}" if tokens != plain else f"{plain} tokens a pass"
    if why := prepared.reasons.get(SHARED_PREFIX):
        shared += f", prompts not shared ({why})"
    told = f"{compared}: {shared}, the head sees {len(rows.positions)} of them"
    if verdict.saving is None:
        return told
    counted = "forward" if verdict.gradient is None else "forward and backward"
    return (
        f"expected saving: {verdict.saving:.2f} times fewer FLOPs (counted: matrix products of {counted}, without "
        f"attention; {told})"
    )
