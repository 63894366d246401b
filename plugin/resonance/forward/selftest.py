# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Exact or off: compare speed-ups with the plain path on a real batch, and give up those that disagree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from .flops import MatrixFlops
from .names import PADDING_FREE, SPEEDUPS
from .prompts import IGNORED
from .ranks import agreed
from .result import TokenLogps, sums

# Largest difference of a token's log-probability, and of the gradient relative to its norm. In bfloat16 the two paths
# round differently: their mean difference is what is looked at, and one order above its usual size is an error.
EXACT, ROUNDED = (1e-4, 1e-4), (0.03, 0.05)
WATCHED = 8  # parameters whose gradients are compared

Run = Callable[[Collection[str]], tuple[TokenLogps, torch.Tensor | None]]


@dataclass
class Verdict:
    """What may be used: `on`; `failed`: what disagreed, and how.

    `logps`, `gradient`: the differences that remain; None if not compared, as when the plain path needs more memory
    than there is. `saving`: FLOPs of the plain path's matrix products on that batch over those with `on`; of forward
    and backward if gradients were compared, else of the forward alone.
    """

    on: frozenset[str]
    failed: dict[str, str] = field(default_factory=dict)
    logps: float | None = None
    gradient: float | None = None
    saving: float | None = None


@dataclass
class _Sample:
    logps: torch.Tensor
    reference: torch.Tensor | None
    gradients: list[torch.Tensor]
    flops: int


class SelfTest:
    """`run(on)` gives the policy's tokens and the reference's sums of one batch with the speed-ups `on`.

    With PADDING_FREE among them `run` packs the rows; the others are compared without it too, because batches that
    have no padding to save, as those of one pair, are not packed.

    `parameters`: those whose gradients are compared after a backward through `run`, none of which may hold a gradient;
    empty to compare log-probabilities only. `half`: the models compute in 16 bits. `needs`: bytes without which the
    plain path is not tried; where ranks hold parts of the weights, the others would wait for one that ran out of
    memory on the way. All ranks come to one verdict.
    """

    def __init__(
        self, run: Run, parameters: Sequence[torch.nn.Parameter], half: bool, device: torch.device, needs: int = 0
    ) -> None:
        self._run = run
        self._needs = needs
        self._device = device
        self._parameters = parameters
        self._watched = parameters  # until the plain path has told which of them say something
        self._half = half

    def choose(self, candidates: Collection[str]) -> Verdict:
        """The largest part of `candidates` that agrees with the plain path; all, if that does not fit into memory."""
        plain = self._plain()
        if plain is None:
            return Verdict(frozenset(candidates))
        on, failed = frozenset(candidates), {}
        verdict = self._judge(plain, on)
        for name in SPEEDUPS:  # give up one after the other until the rest agrees ...
            if isinstance(verdict, str) and name in on:
                on, failed[name] = on - {name}, verdict
                verdict = self._judge(plain, on) if on else Verdict(on)
        for name in list(failed)[:-1]:  # ... and take back those that were not to blame
            again = self._judge(plain, on | {name})
            if not isinstance(again, str):
                on, verdict = again.on, again
                del failed[name]
        return replace(verdict, failed=failed) if isinstance(verdict, Verdict) else Verdict(frozenset(), failed)

    def _plain(self) -> _Sample | None:
        """The plain path with gradients, without if that takes too much memory, or None if both do."""
        if not agreed(self._needs <= free_memory(self._device), self._device):
            return None
        while True:
            try:
                sample = self._sample(())
            except torch.OutOfMemoryError:
                sample = None
            if agreed(sample is not None, self._device):
                return sample
            self._clear()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if not self._watched:
                return None
            self._watched = []

    def _clear(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _judge(self, plain: _Sample, on: frozenset[str]) -> Verdict | str:
        """A verdict, or what is wrong, with these speed-ups on."""
        found = self._try(plain, on)
        if PADDING_FREE in on and len(on) > 1 and not isinstance(found, str):
            unpacked = self._try(plain, on - {PADDING_FREE})
            return unpacked if isinstance(unpacked, str) else found
        return found

    def _try(self, plain: _Sample, on: frozenset[str]) -> Verdict | str:
        try:
            found: Verdict | str = self._compare(plain, self._sample(on), on)
        except torch.OutOfMemoryError:
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            found = (
                f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no text'}"
            )
        if not agreed(not isinstance(found, str), self._device) and not isinstance(found, str):
            return "it disagreed on another rank"
        return found

    def _sample(self, on: Collection[str]) -> _Sample:
        with torch.set_grad_enabled(bool(self._watched)), MatrixFlops() as flops:
            tokens, reference = self._run(on)
            if not self._watched:
                return _Sample(tokens.values, reference, [], flops.total)
            weight = torch.linspace(1.0, -1.0, len(tokens.values), device=tokens.values.device)
            (sums(tokens) * weight).sum().backward()
        if not on:
            self._watched = _telling(self._parameters)
        gradients = [p.grad.detach().clone() if p.grad is not None else torch.zeros_like(p) for p in self._watched]
        self._clear()
        return _Sample(tokens.values.detach(), reference, gradients, flops.total)

    def _compare(self, plain: _Sample, fast: _Sample, on: frozenset[str]) -> Verdict | str:
        off_logps, off_gradient = ROUNDED if self._half else EXACT
        differences = (fast.logps - plain.logps).abs()
        logps = float(differences.sum() / (plain.logps != 0).sum().clamp(min=1) if self._half else differences.max())
        if not logps <= off_logps:
            return f"log-probabilities differ by {logps:.1e} a token"
        if plain.reference is not None and fast.reference is not None:
            count = (plain.logps != 0).sum(1).clamp(min=1)
            reference = float(((fast.reference - plain.reference).abs() / count).max())
            if not reference <= off_logps:
                return f"log-probabilities of the reference differ by {reference:.1e} a token"
        gradient = None
        if plain.gradients:
            error = sum(
                float((a - b).double().pow(2).sum()) for a, b in zip(fast.gradients, plain.gradients, strict=True)
            )
            norm = sum(float(b.double().pow(2).sum()) for b in plain.gradients)
            gradient = (error / norm) ** 0.5 if norm else error**0.5
            if not gradient <= off_gradient:
                return f"the gradient differs by {gradient:.1e} of its norm"
        saving = plain.flops / fast.flops if fast.flops else None
        return Verdict(on, logps=logps, gradient=gradient, saving=saving)


def logits_bytes(batch: dict[str, Any], model: Any) -> int:
    """What the plain path takes for the logits of a batch without gradients: of every token in the precision of the
    weights, and of the response tokens three times in float32.
    """
    vocabulary, width = model.config.get_text_config().vocab_size, next(model.parameters()).element_size()
    return vocabulary * (width * batch["labels"].numel() + 12 * int((batch["labels"] != IGNORED).sum()))


def free_memory(device: torch.device) -> int:
    """Bytes that torch can still get on a GPU; elsewhere without limit."""
    if device.type != "cuda":
        return sys.maxsize
    return (
        torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    )


def _telling(parameters: Sequence[torch.nn.Parameter]) -> Sequence[torch.nn.Parameter]:
    """WATCHED or a few more, evenly spread over those with a gradient: half of a fresh LoRA's matrices have none."""
    telling = [p for p in parameters if p.grad is not None and bool(p.grad.any())] or parameters
    return telling[:: max(1, len(telling) // WATCHED)]
