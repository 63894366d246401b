# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The table of losses and the one door to them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..spec import find, make_table, own_params, param_problems
from .aot import aot, aot_unpaired
from .apo import apo_down, apo_zero
from .bco import bco_pair
from .discopop import discopop
from .dpo import sigmoid
from .dpop import dpop
from .exo import exo_pair
from .ipo import ipo
from .kto import kto_pair
from .nca import nca_pair
from .orpo import orpo
from .robust import robust
from .simpo import simpo
from .slic import hinge
from .spec import LossOutput, LossSpec, Pairs
from .sppo import sppo_hard
from .uni_dpo import uni_dpo
from .validate import checked_output, pair_problems

LOSSES = make_table(
    LossSpec,
    uni_dpo,
    sigmoid,
    hinge,
    ipo,
    kto_pair,
    orpo,
    simpo,
    robust,
    exo_pair,
    nca_pair,
    bco_pair,
    sppo_hard,
    aot,
    aot_unpaired,
    apo_zero,
    apo_down,
    discopop,
    dpop,
)


def get_loss(name: str | LossSpec) -> LossSpec:
    """The loss of that name: one of LOSSES, or a user's own as "package.module:function".

    Raises:
        ValueError: unknown name (the nearest first, then all), or a user loss that cannot be called as
            `fn(pairs, *, parameter=default, ...)`.
        ImportError: a user's module that itself fails to import something.
    """
    return find(name, LOSSES, LossSpec)


def check_params(spec_or_name: LossSpec | str, params: Mapping[str, object]) -> list[str]:
    """What is wrong with these parameter values for this loss, a message each; empty when nothing is.

    Takes numbers, not batches, so that a recipe can be checked before anything is loaded. Messages hold the value
    given and what is allowed. Raises ValueError for an unknown loss, as `get_loss`.
    """
    return param_problems(get_loss(spec_or_name), params)


def preference_loss(
    name: str | LossSpec,
    policy_chosen_logps: torch.Tensor,
    policy_rejected_logps: torch.Tensor,
    reference_chosen_logps: torch.Tensor | None,
    reference_rejected_logps: torch.Tensor | None,
    *,
    chosen_lengths: torch.Tensor | None = None,
    rejected_lengths: torch.Tensor | None = None,
    score_chosen: torch.Tensor | None = None,
    score_rejected: torch.Tensor | None = None,
    **params: Any,
) -> LossOutput:
    """A preference loss by name, on checked input.

    Args:
        name: one of LOSSES, "package.module:function", or a LossSpec from `get_loss`.
        policy_chosen_logps, policy_rejected_logps: (B,), nats; sums or means over response tokens, as you chose.
        reference_chosen_logps, reference_rejected_logps: (B,) of the reference model, or None for a loss without one.
        chosen_lengths, rejected_lengths: (B,) response lengths in tokens.
        score_chosen, score_rejected: (B,) scores of the data, for losses that need them.
        params: the loss's own parameters by name, e.g. beta=0.1; defaults are in `get_loss(name).params`.
            label_smoothing=0.0 is taken by every loss, since it asks for nothing.

    Returns:
        LossOutput: losses (B,), detached rewards (B,), and stats; for a loss with a reference the stats also hold
        pi_logratios, ref_logratios and logits (the difference of the two, not scaled by beta).

    Raises:
        ValueError: unknown loss or parameter, values out of range, wrong shapes, a missing reference, missing or
            non-finite scores (all in one message), or a loss that returns another shape than (B,).
    """
    pairs = Pairs(
        policy_chosen_logps,
        policy_rejected_logps,
        reference_chosen_logps,
        reference_rejected_logps,
        chosen_lengths,
        rejected_lengths,
        score_chosen,
        score_rejected,
    )
    return pairs_loss(get_loss(name), pairs, params)


def pairs_loss(spec: LossSpec, pairs: Pairs, params: Mapping[str, Any]) -> LossOutput:
    """`preference_loss` on a batch that is a Pairs already; checks, result and errors are the same."""
    problems = pair_problems(spec, pairs) + param_problems(spec, params)
    if problems:
        raise ValueError(f"Loss '{spec.name}' cannot be computed:\n" + "\n".join(f"  - {line}" for line in problems))
    own = own_params(spec, params)
    return checked_output(spec, pairs, own, spec.fn(pairs, **own))


def trial_problem(spec: LossSpec, params: Mapping[str, Any]) -> str | None:
    """What goes wrong when a loss is computed on four made-up pairs, forward and backward; None if nothing does.

    For a user's own loss, before a model is loaded: shapes, names of attributes, a loss without a gradient.
    """
    near, far = (torch.linspace(-low, -1.0, 4).requires_grad_() for low in (2.0, 3.0))
    lengths = {"chosen_lengths": torch.tensor([9, 7, 5, 3]), "rejected_lengths": torch.tensor([8, 6, 4, 2])}
    pairs = Pairs(near, far, **lengths)
    if spec.needs_reference:
        reference = torch.linspace(-2.5, -1.5, 4)
        pairs = replace(pairs, reference_chosen_logps=reference, reference_rejected_logps=reference - 0.5)
    if spec.needs_scores:
        scores = torch.tensor([[4.0, 5.0, 3.0, 4.5], [1.0, 2.0, 2.5, 1.5]])
        pairs = replace(pairs, score_chosen=scores[0], score_rejected=scores[1])
    try:
        losses = pairs_loss(spec, pairs, params).losses
        losses.mean().backward()
    except Exception as error:  # whatever a user's function raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({place.filename}, line {place.lineno})" if place.name == spec.fn.__name__ else ""
        return f"{spec.name} fails on four made-up pairs: {type(error).__name__}: {error}{where}"
    if not torch.isfinite(losses).any():
        return f"{spec.name} gives {losses.tolist()} for four made-up pairs with ordinary log-probs"
    return None
