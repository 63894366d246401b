# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The table of losses and the one door to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..spec import find, make_table
from .alpha_dpo import alpha_dpo
from .aot import aot, aot_unpaired
from .apo import apo_down, apo_zero
from .bco import bco_pair
from .beta_dpo import beta_dpo
from .chip import chip_visual
from .compute import pairs_loss
from .cpo import cpo
from .ddpo import ddpo, ddpo_segments
from .discopop import discopop
from .dpo import sigmoid, sigmoid_norm
from .dpop import dpop
from .exo import exo_pair
from .f_dpo import f_dpo_alpha, f_dpo_js
from .focalpo import focalpo
from .ipo import ipo
from .kto import kto_pair
from .mdpo import mdpo
from .mix import make_mix, part_names
from .mm_dpo import mm_dpo, mm_dpo_released
from .nca import nca_pair
from .odpo import odpo
from .orpo import odds_ratio, orpo
from .reward_rpo import rpo_bwd_kl, rpo_fwd_kl, rpo_sq
from .robust import robust
from .rpo import rpo
from .sft import sft
from .simpo import simpo
from .slic import hinge
from .spec import LossOutput, LossSpec, Pairs
from .sppo import sppo_hard
from .uni_dpo import uni_dpo
from .wpo import wpo

# of Pairs, which few losses read
BESIDE = ("margin", "chosen_on_policy", "rejected_on_policy", "changed", "corrupted", "ranks", "logps")

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
    sigmoid_norm,
    rpo,
    cpo,
    f_dpo_js,
    f_dpo_alpha,
    focalpo,
    wpo,
    mm_dpo,
    mm_dpo_released,
    beta_dpo,
    alpha_dpo,
    rpo_bwd_kl,
    rpo_fwd_kl,
    rpo_sq,
    odpo,
    ddpo,
    ddpo_segments,
    mdpo,
    chip_visual,
    odds_ratio,
    sft,
)


def get_loss(name: str | Sequence[str] | LossSpec) -> LossSpec:
    """The loss of that name: one of LOSSES, a user's own as "package.module:function", or a mix of several.

    A mix is named by a list, or by its parts with commas between them: "sigmoid,bco_pair,sft".

    Raises:
        ValueError: unknown name (the nearest first, then all), or a user loss that cannot be called as
            `fn(pairs, *, parameter=default, ...)`; a mix that names a loss twice.
        ImportError: a user's module that itself fails to import something.
    """
    if isinstance(name, LossSpec):
        return name
    names = part_names(name)
    if len(names) == 1:
        return find(names[0], LOSSES, LossSpec)
    return make_mix([find(each, LOSSES, LossSpec) for each in names])


def check_params(spec_or_name: LossSpec | str, params: Mapping[str, object]) -> list[str]:
    """What is wrong with these parameter values for this loss, a message each; empty when nothing is.

    Takes numbers, not batches, so that a recipe can be checked before anything is loaded. Messages hold the value
    given and what is allowed. Raises ValueError for an unknown loss, as `get_loss`.
    """
    return get_loss(spec_or_name).param_problems(params)


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
        name: as of `get_loss`.
        policy_chosen_logps, policy_rejected_logps: (B,), nats; sums or means over response tokens, as you chose.
        reference_chosen_logps, reference_rejected_logps: (B,) of the reference model, or None for a loss without one.
        chosen_lengths, rejected_lengths: (B,) response lengths in tokens.
        score_chosen, score_rejected: (B,) scores of the data, for losses that need them.
        params: the loss's own parameters by name, e.g. beta=0.1; defaults are in `get_loss(name).params`. And whatever
            else of `Pairs` the loss needs: margin, chosen_on_policy, rejected_on_policy, changed, corrupted, ranks,
            logps.
            label_smoothing=0.0 is taken by every loss, since it asks for nothing.

    Returns:
        LossOutput: losses (B,), detached rewards (B,), and stats; for a loss with a reference the stats also hold
        pi_logratios, ref_logratios and logits (the difference of the two, not scaled by beta).

    Raises:
        ValueError: unknown loss or parameter, values out of range, wrong shapes, a missing reference, something else
            missing, non-finite scores (all in one message), or a loss that returns another shape than (B,).
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
        **{key: params.pop(key) for key in BESIDE if key in params},
    )
    return pairs_loss(get_loss(name), pairs, params)
