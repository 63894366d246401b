# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Terms mixed into any preference loss."""

import torch

from ..spec import NON_NEGATIVE


def add_sft(losses: torch.Tensor, chosen_logps_mean: torch.Tensor, ftx_gamma: float) -> torch.Tensor:
    """Add the SFT loss of the chosen responses (LlamaFactory's `pref_ftx`, RPO's alpha).

    Formula: losses + ftx_gamma * (-lp_w), lp_w being the mean log-prob a token.

    Args:
        losses: (B,).
        chosen_logps_mean: (B,), nats a token, whatever rule the loss itself uses.
        ftx_gamma: >= 0.

    Raises:
        ValueError: ftx_gamma is negative or not a finite number.
    """
    if not NON_NEGATIVE.allows(ftx_gamma):
        raise ValueError(f"ftx_gamma={ftx_gamma!r} is not allowed: it must be {NON_NEGATIVE}.")
    return losses + ftx_gamma * -chosen_logps_mean


def mix_bco(losses: torch.Tensor, bco_losses: torch.Tensor, bco_weight: float) -> torch.Tensor:
    """Mix in BCO's losses, renormalised (LlamaFactory's `pref_bco_weight`, MPO's quality loss, arXiv:2411.10442).

    Formula: (losses + bco_weight * bco_losses) / (1 + bco_weight).

    Args:
        losses: (B,).
        bco_losses: (B,), from `bco_pair` with the running baseline.
        bco_weight: >= 0.

    Raises:
        ValueError: bco_weight is negative or not a finite number.
    """
    if not NON_NEGATIVE.allows(bco_weight):
        raise ValueError(f"bco_weight={bco_weight!r} is not allowed: it must be {NON_NEGATIVE}.")
    return (losses + bco_losses * bco_weight) / (1.0 + bco_weight)
