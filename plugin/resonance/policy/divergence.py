# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How far the policy is from its reference: estimators of KL(pi || ref) from the sampled tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..spec import nearest_first
from .spec import MAX_LOG_RATIO
from .tensors import described, precise

KL = Callable[[torch.Tensor], torch.Tensor]


def _k1(d: torch.Tensor) -> torch.Tensor:
    return d


def _k2(d: torch.Tensor) -> torch.Tensor:
    return 0.5 * d.square()


def _k3(d: torch.Tensor) -> torch.Tensor:
    lower = (-d).clamp(max=MAX_LOG_RATIO)
    return lower.exp() - lower - 1


def _with_gradient_of_k2(estimator: KL) -> KL:
    def straight_through(d: torch.Tensor) -> torch.Tensor:
        gradient = _k2(d)
        return estimator(d).detach() + gradient - gradient.detach()

    return straight_through


KLS: dict[str, KL] = {
    "k1": _k1,
    "k2": _k2,
    "k3": _k3,
    "abs": torch.abs,
    "k1+": _with_gradient_of_k2(_k1),
    "k3+": _with_gradient_of_k2(_k3),
}


def kl(name: str, logps: torch.Tensor, ref_logps: torch.Tensor) -> torch.Tensor:
    """An estimate of KL(pi || ref) at each sampled token.

    Source: J. Schulman, "Approximating KL divergence" (2020); GRPO (arXiv:2402.03300, equation 4) has k3 in its loss.
    Formula, with d = logps - ref_logps, and the gradient of a token's value with respect to its log-prob, which is
    what a KL **in the loss** adds:

        name  value            gradient       in the loss, in expectation over the policy's own samples
        k1    d                1              nothing: the mean of grad log pi is 0. For rewards only
        k2    d**2 / 2         d              the gradient of KL(pi || ref)
        k3    exp(-d) + d - 1  1 - exp(-d)    the gradient of KL(ref || pi)
        abs   |d|              sign(d)        a pull of constant strength
        k1+   as k1            as k2          the gradient of KL(pi || ref)
        k3+   as k3            as k2          the gradient of KL(pi || ref)

    **In the reward** only values count, and the policy gradient takes care of the rest: k1 there is the unbiased one.
    k1 and k3 have the expectation KL(pi || ref), k2 nearly so where the two are close; k2, k3 and abs are never
    below 0. exp(-d) in k3 is held below exp(20).

    Compared with: verl 0.9.1, core_algos.kl_penalty (k1 is its "kl", k2 "mse", k3 "low_var_kl").

    Args:
        name: one of KLS.
        logps: log-probs of the sampled tokens by the policy, in nats, any shape.
        ref_logps: by the reference, the same shape; detached.

    Returns:
        The shape of `logps`, in nats (k2: nats squared), float32 or wider. Nothing is masked: pass it to `aggregate`.

    Raises:
        ValueError: unknown name (the nearest first), or shapes that differ.
    """
    if name not in KLS:
        raise ValueError(f"Unknown KL estimator {name!r} ({nearest_first(str(name), KLS)}).")
    if logps.shape != ref_logps.shape:
        raise ValueError(
            f"logps and ref_logps must have one shape, got {described(logps)} and {described(ref_logps)}."
        )
    dtype = precise(logps, ref_logps)
    return KLS[name](logps.to(dtype) - ref_logps.detach().to(dtype))
