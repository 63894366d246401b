# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A loss of checked pairs with checked parameters, and a trial of one on made-up pairs."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..spec import own_params
from .spec import LossOutput, LossSpec, Pairs
from .validate import checked_output, pair_problems


def pairs_loss(spec: LossSpec, pairs: Pairs, params: Mapping[str, Any]) -> LossOutput:
    """A preference loss of a batch; checks, result and errors are those of `preference_loss`."""
    problems = pair_problems(spec, pairs) + spec.param_problems(params)
    if problems:
        raise ValueError(f"Loss '{spec.name}' cannot be computed:\n" + "\n".join(f"  - {line}" for line in problems))
    if pairs.logps is None:
        pairs = replace(pairs, logps=spec.logps)
    own = own_params(spec, params)
    return checked_output(spec, pairs, own, spec.fn(pairs, **own))


def trial_problem(spec: LossSpec, params: Mapping[str, Any]) -> str | None:
    """What goes wrong when a loss is computed on four made-up pairs, forward and backward; None if nothing does.

    For a user's own loss, before a model is loaded: shapes, names of attributes, a loss without a gradient.
    """
    near, far = (torch.linspace(-low, -1.0, 4).requires_grad_() for low in (2.0, 3.0))
    lengths: dict[str, Any] = {
        "chosen_lengths": torch.tensor([9, 7, 5, 3]),
        "rejected_lengths": torch.tensor([8, 6, 4, 2]),
    }
    pairs = Pairs(near, far, **lengths)
    if spec.needs_reference:
        reference = torch.linspace(-2.5, -1.5, 4)
        pairs = replace(pairs, reference_chosen_logps=reference, reference_rejected_logps=reference - 0.5)
    if spec.needs_scores:
        scores = torch.tensor([[4.0, 5.0, 3.0, 4.5], [1.0, 2.0, 2.5, 1.5]])
        pairs = replace(pairs, score_chosen=scores[0], score_rejected=scores[1])
    if spec.needs_margin:
        pairs = replace(pairs, margin=torch.tensor([1.0, 0.5, 0.0, 2.0]))
    if spec.needs_on_policy:
        likely = torch.tensor([-1.0, -0.5, 0.5, 0.0])
        pairs = replace(pairs, chosen_on_policy=likely, rejected_on_policy=likely - 0.5)
    if spec.needs_changed:
        some = {name: (length + 1) // 2 for name, length in lengths.items()}
        pairs = replace(pairs, changed=Pairs(near / 2, far / 2, near.detach(), far.detach(), **some, logps="sum"))
    if spec.needs_corrupted:
        known = replace(pairs, rejected_lengths=pairs.chosen_lengths, logps=spec.logps)
        pairs = replace(pairs, corrupted=known)
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
